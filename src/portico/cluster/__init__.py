"""Calls carried to the worker that holds their transaction: between the workers of a node by Unix sockets, between nodes by TLS."""
