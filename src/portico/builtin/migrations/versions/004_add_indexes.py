"""Indexes for the questions that are asked most: by owner, by title, by state, by time, and inside of JSON on PostgreSQL.

What a downgrade loses: speed only.
"""

from __future__ import annotations

from alembic import op

from portico.builtin.migrations.support import on_postgresql, schema

revision = "004_add_indexes"
down_revision = "003_add_metadata"
branch_labels = None
depends_on = None

INDEXES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("idx_clients_email", "clients", ("email",)),
    ("idx_users_email", "users", ("email",)),
    ("idx_users_created_at", "users", ("created_at",)),
    ("idx_users_active", "users", ("is_active",)),
    ("idx_users_client_id", "users", ("client_id",)),
    ("idx_user_identities_user_id", "user_identities", ("user_id",)),
    ("idx_document_metadata_client_id", "document_metadata", ("client_id", "id")),
    ("idx_document_metadata_upload_timestamp", "document_metadata", ("upload_timestamp",)),
    ("idx_document_metadata_uploaded_by", "document_metadata", ("uploaded_by",)),
    ("idx_documents_user_id", "documents", ("user_id",)),
    ("idx_documents_project_name", "documents", ("project_name",)),
    ("idx_documents_status", "documents", ("status",)),
    ("idx_documents_created_at", "documents", ("created_at",)),
    ("idx_wireframes_user_id", "wireframes", ("user_id",)),
    ("idx_wireframes_title", "wireframes", ("title",)),
    ("idx_wireframes_template_type", "wireframes", ("template_type",)),
    ("idx_wireframes_created_at", "wireframes", ("created_at",)),
    ("idx_conversations_user_id", "conversations", ("user_id",)),
    ("idx_conversations_title", "conversations", ("title",)),
    ("idx_conversations_created_at", "conversations", ("created_at",)),
    ("idx_messages_conversation_id", "messages", ("conversation_id",)),
    ("idx_messages_timestamp", "messages", ("timestamp",)),
    ("idx_messages_role", "messages", ("role",)),
    ("idx_diagrams_user_id", "diagrams", ("user_id",)),
    ("idx_diagrams_type", "diagrams", ("diagram_type",)),
    ("idx_diagrams_title", "diagrams", ("title",)),
    ("idx_diagrams_created_at", "diagrams", ("created_at",)),
    ("idx_events_created_at", "events", ("created_at",)),
)

INVERTED: tuple[tuple[str, str, str], ...] = (
    ("idx_documents_metadata", "documents", "metadata"),
    ("idx_events_data", "events", "data"),
    ("idx_events_task_context", "events", "task_context"),
)


def upgrade() -> None:
    """Create the indexes; those over JSON only where the database has inverted ones."""
    for name, table, columns in INDEXES:
        op.create_index(name, table, list(columns), schema=schema())
    if on_postgresql():
        for name, table, column in INVERTED:
            op.create_index(name, table, [column], schema=schema(), postgresql_using="gin")


def downgrade() -> None:
    """Drop them."""
    if on_postgresql():
        for name, table, _ in INVERTED:
            op.drop_index(name, table_name=table, schema=schema())
    for name, table, _ in INDEXES:
        op.drop_index(name, table_name=table, schema=schema())
