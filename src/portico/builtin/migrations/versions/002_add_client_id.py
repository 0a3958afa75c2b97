"""Clients, and the client that each user belongs to.

What a downgrade loses: the clients, and which client each user belongs to.
"""

from __future__ import annotations

from alembic import op

from portico.builtin.migrations.support import add_reference, column, drop_columns, key, moment, one_of, schema

revision = "002_add_client_id"
down_revision = "001_initial"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the clients and refer to them from the users."""
    op.create_table(
        "clients",
        column("id", "string(255)", key=True),
        column("name", "text", required=True),
        column("email", "text"),
        column("status", "string(50)", required=True, default="active"),
        moment("created_at"),
        moment("updated_at"),
        key("clients", "id"),
        one_of("clients", "status", "active", "suspended", "closed"),
        schema=schema(),
    )
    add_reference("users", "client_id", "string(255)", "clients.id")


def downgrade() -> None:
    """Users belong to no client again."""
    drop_columns("client_id", "users")
    op.drop_table("clients", schema=schema())
