"""Roles and row-level security: the second lock on every tenant's documents, which fails closed.

What a downgrade loses: the policies and the grants of `appuser` and `backupuser`, so that only the owner reaches the tables. The roles
stay, because they belong to the whole server, and so does the ownership of the tables. On SQLite there is nothing to do.
"""

from __future__ import annotations

from alembic import op

from portico.builtin.declarations import builtin_collections
from portico.builtin.migrations.roles import assume_owner, create_roles, grant_application, revoke_application
from portico.builtin.migrations.support import on_postgresql
from portico.engines.sql.policies import disable_policy, enable_policy

revision = "005_row_level_security"
down_revision = "004_add_indexes"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the roles, hand the tables to their owner, grant, and enable the policies."""
    if not on_postgresql():
        return
    create_roles(op.get_bind())
    assume_owner(op.get_bind())
    grant_application(op.get_bind())
    known = {collection.name: collection for collection in builtin_collections("")}
    for collection in known.values():
        # Events belong to no tenant, and a policy would keep PostgreSQL from using the inverted indexes over them.
        if collection.security.access_control != "undeclared":
            for statement in enable_policy(collection, known):
                op.execute(statement)


def downgrade() -> None:
    """Drop the policies and revoke the grants."""
    if not on_postgresql():
        return
    for collection in builtin_collections(""):
        if collection.security.access_control != "undeclared":
            for statement in disable_policy(collection):
                op.execute(statement)
    revoke_application(op.get_bind())
