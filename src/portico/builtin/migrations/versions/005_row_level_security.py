"""Roles and row-level security: the second lock on every tenant's documents, which fails closed.

What a downgrade loses: the policies and the grants of `appuser` and `backupuser`, so that only the owner reaches the tables. The roles
stay, because they belong to the whole server, and so does the ownership of the tables. On SQLite there is nothing to do.
"""

from __future__ import annotations

from alembic import op

from portico.builtin.declarations import builtin_collections
from portico.builtin.migrations.roles import (
    APPLICATION,
    BACKUP,
    application_grants,
    application_revokes,
    assume_owner,
    create_roles,
    existing_roles,
)
from portico.builtin.migrations.support import on_postgresql
from portico.engines.sql.policies import disable_policy, enable_policy
from portico.model.collection import Collection

revision = "005_row_level_security"
down_revision = "004_add_indexes"
branch_labels = None
depends_on = None

_ROLES = {APPLICATION, BACKUP}
"""Whom SQL that is written without a database grants to."""


def upgrade() -> None:
    """Create the roles, hand the tables to their owner, grant, and enable the policies."""
    if not on_postgresql():
        return
    roles = _ROLES
    if not op.get_context().as_sql:
        create_roles(op.get_bind())
        assume_owner(op.get_bind())
        roles = existing_roles(op.get_bind())
    for statement in application_grants(roles):
        op.execute(statement)
    known = {collection.name: collection for collection in builtin_collections("")}
    for collection in _guarded():
        for statement in enable_policy(collection, known):
            op.execute(statement)


def downgrade() -> None:
    """Drop the policies and revoke the grants."""
    if not on_postgresql():
        return
    for collection in _guarded():
        for statement in disable_policy(collection):
            op.execute(statement)
    for statement in application_revokes(_ROLES if op.get_context().as_sql else existing_roles(op.get_bind())):
        op.execute(statement)


def _guarded() -> list[Collection]:
    # Events belong to no tenant, and a policy would keep PostgreSQL from using the inverted indexes over them.
    return [collection for collection in builtin_collections("") if collection.security.access_control != "undeclared"]
