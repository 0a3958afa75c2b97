"""The HTTP API: dispatch, routes, middleware and answers."""
