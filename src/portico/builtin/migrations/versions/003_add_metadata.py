"""Metadata: of clients' files in a table of its own, and of what users keep as a JSON column.

What a downgrade loses: the metadata of files, and the `metadata` of documents, wireframes, conversations, messages and diagrams.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from portico.builtin.migrations.support import column, drop_columns, json_object, key, moment, on_postgresql, reference, schema

revision = "003_add_metadata"
down_revision = "002_add_client_id"
branch_labels = None
depends_on = None

WITH_METADATA = ("documents", "wireframes", "conversations", "messages", "diagrams")


def upgrade() -> None:
    """Create the table and add the columns, empty objects for the rows that are there."""
    counted = sa.BigInteger() if on_postgresql() else sa.Integer()
    op.create_table(
        "document_metadata",
        sa.Column("id", counted, autoincrement=True, nullable=False),
        column("client_id", "string(255)"),
        column("filename", "string(500)", required=True),
        column("file_size", "bigint", required=True),
        column("file_type", "string(100)", required=True),
        column("content_type", "string(255)"),
        moment("upload_timestamp"),
        column("file_path", "string(1000)", required=True),
        column("summary", "text"),
        json_object("metadata"),
        column("uploaded_by", "uuid"),
        key("document_metadata", "id"),
        sa.CheckConstraint("file_size >= 0", name="ck_document_metadata_file_size_min"),
        reference("document_metadata", "client_id", "clients.id"),
        reference("document_metadata", "uploaded_by", "users.user_id", "SET NULL"),
        schema=schema(),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_document_metadata_client_id_filename", "document_metadata", ["client_id", "filename"], unique=True, schema=schema())
    for table in WITH_METADATA:
        op.add_column(table, json_object("metadata"), schema=schema())


def downgrade() -> None:
    """Drop the columns and the table."""
    drop_columns("metadata", *WITH_METADATA)
    op.drop_table("document_metadata", schema=schema())
