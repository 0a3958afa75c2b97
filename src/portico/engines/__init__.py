"""The engines: each compiles a scoped query for one kind of database and runs it."""
