"""PostgREST's own wire at `/rest/v1`: its parameters, headers, statuses and errors, over the same service as `/api/db`."""

from portico.api.rest.handlers import Rest

__all__ = ["Rest"]
