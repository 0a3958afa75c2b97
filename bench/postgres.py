"""The PostgreSQL of the benchmark: a real server with durable commits, and the same documents for everyone on it."""

from collections.abc import Iterable
from pathlib import Path

from psycopg import sql

from bench.data import COLUMNS, Document, clients, documents
from bench.processes import BenchError
from tests.servers.postgres import PostgresDatabase, PostgresServer

DATABASE = "bench"
_SCHEMA = Path(__file__).with_name("schema.sql")
_INDEXES = """
    SELECT regexp_replace(pg_get_indexdef(indexrelid), '^.* USING ', '') || CASE WHEN indisunique THEN ' unique' ELSE '' END
    FROM pg_index WHERE indrelid = to_regclass(%s)
"""
_COPIES = """
    INSERT INTO {schema}.document_metadata (id, client_id, filename, file_size, file_type, content_type, file_path, summary, metadata)
    SELECT {base} + id * 10 + copy, {client}, copy || '-' || filename, file_size, file_type, content_type, file_path, summary, metadata
    FROM {schema}.document_metadata, generate_series(0, 9) copy WHERE id <= 100000
"""
EXPORTED_CLIENT = "archive"
EXPORTED_ROWS = 1_000_000
EXPORTED_FROM = 100_000_000


def create_database(server: PostgresServer) -> PostgresDatabase:
    """Make the database with the tables without row-level security, holding every document."""
    database = server.new_database(DATABASE)
    with database.connect() as connection:
        connection.execute(_SCHEMA.read_bytes())
    load(database, "plain", documents(), clients())
    return database


def load(database: PostgresDatabase, schema: str, rows: Iterable[Document], owners: Iterable[str]) -> None:
    """Put clients and their documents into a schema's `clients` and `document_metadata`, and tidy up after it."""
    table = sql.Identifier(schema, "document_metadata")
    columns = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
    with database.connect() as connection, connection.cursor() as cursor:
        insert = sql.SQL("INSERT INTO {} (id, name, status) VALUES (%s, %s, 'active')").format(sql.Identifier(schema, "clients"))
        cursor.executemany(insert, [(name, name) for name in owners])
        with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)) as copy:
            for row in rows:
                copy.write_row(row.row())
        name = f"{schema}.document_metadata"
        cursor.execute(sql.SQL("SELECT setval(pg_get_serial_sequence(%s, 'id'), (SELECT max(id) FROM {}))").format(table), [name])
        cursor.execute(sql.SQL("VACUUM ANALYZE {}").format(table))


def holds_documents(database: PostgresDatabase, schema: str) -> bool:
    """Whether the schema's table has rows already."""
    return bool(database.execute(f"SELECT 1 FROM {schema}.document_metadata LIMIT 1"))


def require_same_indexes(database: PostgresDatabase) -> None:
    """See that Portico's table and the plain one have the same indexes.

    Raises:
        BenchError: they differ, so that the comparison would be between two different tables.
    """
    with database.connect() as connection:
        theirs, ours = (
            sorted(str(row[0]) for row in connection.execute(_INDEXES, [f"{schema}.document_metadata"])) for schema in ("plain", "app")
        )
    if theirs != ours:
        raise BenchError(f"bench/schema.sql has other indexes than app.document_metadata:\n{theirs}\n{ours}")


def load_export(database: PostgresDatabase) -> None:
    """Give one client of both schemas a million documents more, the same in both."""
    for schema in ("plain", "app"):
        with database.connect() as connection:
            names = {"schema": sql.Identifier(schema), "client": sql.Literal(EXPORTED_CLIENT), "base": sql.Literal(EXPORTED_FROM)}
            connection.execute(
                sql.SQL("INSERT INTO {schema}.clients (id, name, status) VALUES ({client}, {client}, 'active')").format(**names)
            )
            connection.execute(sql.SQL(_COPIES).format(**names))
            connection.execute(sql.SQL("VACUUM ANALYZE {schema}.document_metadata").format(**names))
            connection.execute("CHECKPOINT")
