"""Users, their identities and what they keep: documents, wireframes, conversations, messages, diagrams; and raw events.

What a downgrade loses: all of these tables, with everything in them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from portico.builtin.migrations.support import column, key, moment, on_postgresql, one_of, reference, schema, uuid_key

revision = "001_initial"
down_revision: str | None = None
branch_labels = None
depends_on = None

TABLES = ("users", "user_identities", "documents", "wireframes", "conversations", "messages", "diagrams", "events")


def upgrade() -> None:
    """Create the schema and its first tables."""
    if on_postgresql():
        # Asking first: CREATE SCHEMA IF NOT EXISTS wants the privilege to create even where there is nothing to do.
        op.execute("DO $$ BEGIN IF to_regnamespace('app') IS NULL THEN CREATE SCHEMA app; END IF; END $$")
    _people()
    _work()
    _conversations()


def downgrade() -> None:
    """Drop the tables. The schema stays: it may hold declared collections."""
    for table in reversed(TABLES):
        op.drop_table(table, schema=schema())


def _people() -> None:
    op.create_table(
        "users",
        uuid_key("user_id"),
        column("username", "string(255)"),
        column("email", "string(255)"),
        column("password_hash", "string(255)"),
        column("full_name", "string(255)", required=True),
        column("first_name", "text"),
        column("last_name", "text"),
        column("organization", "string(255)"),
        column("role", "string(50)", default="user"),
        column("preferences", "json", default="{}"),
        column("is_active", "boolean", default=sa.true()),
        column("last_login", "datetime"),
        moment("created_at"),
        moment("updated_at"),
        key("users", "user_id"),
        sa.UniqueConstraint("username", name="uq_users_username"),
        sa.UniqueConstraint("email", name="uq_users_email"),
        schema=schema(),
    )
    op.create_table(
        "user_identities",
        uuid_key("id"),
        column("user_id", "uuid", required=True),
        column("provider", "text", required=True),
        column("subject", "text", required=True),
        column("email", "text"),
        moment("created_at"),
        column("last_login", "datetime"),
        key("user_identities", "id"),
        reference("user_identities", "user_id", "users.user_id", "CASCADE"),
        schema=schema(),
    )
    op.create_index("uq_user_identities_provider_subject", "user_identities", ["provider", "subject"], unique=True, schema=schema())


def _work() -> None:
    op.create_table(
        "documents",
        uuid_key("document_id"),
        column("user_id", "uuid", required=True),
        column("project_name", "string(500)", required=True),
        column("content", "text", required=True),
        column("status", "string(50)", default="draft"),
        column("version", "integer", default=sa.literal(1)),
        column("file_path", "string(1000)"),
        moment("created_at"),
        moment("updated_at"),
        key("documents", "document_id"),
        reference("documents", "user_id", "users.user_id", "CASCADE"),
        schema=schema(),
    )
    op.create_table(
        "wireframes",
        uuid_key("wireframe_id"),
        column("user_id", "uuid", required=True),
        column("title", "string(500)", required=True),
        column("html_content", "text"),
        column("css_styles", "text"),
        column("template_type", "string(100)"),
        column("preview_url", "string(1000)"),
        moment("created_at"),
        moment("updated_at"),
        key("wireframes", "wireframe_id"),
        reference("wireframes", "user_id", "users.user_id", "CASCADE"),
        schema=schema(),
    )
    op.create_table(
        "diagrams",
        uuid_key("diagram_id"),
        column("user_id", "uuid", required=True),
        column("title", "string(500)", required=True),
        column("diagram_type", "string(50)", required=True),
        column("mermaid_code", "text", required=True),
        column("preview_url", "string(1000)"),
        moment("created_at"),
        moment("updated_at"),
        key("diagrams", "diagram_id"),
        one_of("diagrams", "diagram_type", "sequence", "architecture", "usecase", "flowchart"),
        reference("diagrams", "user_id", "users.user_id", "CASCADE"),
        schema=schema(),
    )


def _conversations() -> None:
    op.create_table(
        "conversations",
        uuid_key("conversation_id"),
        column("user_id", "uuid", required=True),
        column("title", "string(500)", required=True),
        moment("created_at"),
        moment("updated_at"),
        key("conversations", "conversation_id"),
        reference("conversations", "user_id", "users.user_id", "CASCADE"),
        schema=schema(),
    )
    op.create_table(
        "messages",
        uuid_key("message_id"),
        column("conversation_id", "uuid", required=True),
        column("role", "string(20)", required=True),
        column("content", "text", required=True),
        column("token_count", "integer"),
        moment("timestamp"),
        key("messages", "message_id"),
        one_of("messages", "role", "user", "assistant", "system"),
        reference("messages", "conversation_id", "conversations.conversation_id", "CASCADE"),
        schema=schema(),
    )
    op.create_table(
        "events",
        uuid_key("id"),
        column("data", "json", default="{}"),
        column("task_context", "json", default="{}"),
        moment("created_at"),
        moment("updated_at"),
        key("events", "id"),
        schema=schema(),
    )
