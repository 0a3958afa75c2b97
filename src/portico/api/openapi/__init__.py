"""The OpenAPI document, made from the catalog: every collection with its own fields and all of its calls."""

from portico.api.openapi.document import OpenApi

__all__ = ["OpenApi"]
