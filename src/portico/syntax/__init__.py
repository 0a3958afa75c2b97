"""The syntaxes in which queries are written. They do not know each other; both give `query.ast`."""
