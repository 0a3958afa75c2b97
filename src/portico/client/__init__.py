"""The Python client, which needs nothing of the server."""
