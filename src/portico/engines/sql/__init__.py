"""What the two SQL engines share: compiling queries, data definition and reflection."""
