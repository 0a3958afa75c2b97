"""PostgREST's own wire, asked by its official clients and by hand."""
