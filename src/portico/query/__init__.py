"""What was asked and what it resolved to: the syntax tree, its binding to a collection, and the scoped query that engines accept."""
