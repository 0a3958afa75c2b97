"""The control plane's typed routes, one module for each resource."""

from portico.api.routes import audit, health, migrations, monitor, root, schema

ROUTERS = (root.router, health.router, schema.router, migrations.router, monitor.router, audit.router)
"""Every router, in the order in which paths are looked for."""

__all__ = ["ROUTERS"]
