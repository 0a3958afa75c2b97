"""What is read of an SQLite file that another program made."""

import sqlite3

import pytest

from portico.engines.sqlite.reflect import field_type, fingerprint, reflect
from portico.model.field import Base, Default, Reference

SCHEMA = """
CREATE TABLE authors (id INTEGER PRIMARY KEY, email VARCHAR(50) UNIQUE NOT NULL, born DATETIME, half REAL GENERATED ALWAYS AS (id / 2.0));
CREATE TABLE books (
  isbn TEXT, edition INT,
  author INTEGER REFERENCES authors ON DELETE CASCADE, note TEXT DEFAULT 'x', PRIMARY KEY (isbn, edition)) WITHOUT ROWID;
CREATE TABLE loans (isbn TEXT, edition INT, FOREIGN KEY (isbn, edition) REFERENCES books (isbn, edition) ON DELETE SET NULL);
CREATE INDEX books_by_author ON books (author, note DESC);
CREATE INDEX partly ON books (note) WHERE note <> '';
CREATE VIEW titles AS SELECT isbn FROM books;
CREATE VIRTUAL TABLE words USING fts5 (text);
CREATE TABLE portico_audit (id INTEGER PRIMARY KEY);
CREATE TRIGGER loans_check BEFORE INSERT ON loans BEGIN SELECT 1; END;
"""


@pytest.fixture
def tables():
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return {table.name: table for table in reflect(connection, "main")}


def test_tables_and_views_are_found_without_shadows_and_bookkeeping(tables):
    assert {name: table.kind for name, table in tables.items()} == {
        "authors": "table",
        "books": "table",
        "loans": "table",
        "titles": "view",
    }


def test_a_row_id_is_made_by_the_database_and_a_generated_column_is_never_written(tables):
    authors = tables["authors"]
    assert authors.by_name["id"].default == Default("database")
    assert authors.by_name["half"].generated
    assert authors.by_name["email"].constraints.unique
    assert not authors.by_name["email"].nullable


def test_keys_keep_their_order_and_references_their_rule(tables):
    books = tables["books"]
    assert books.primary_key == ("isbn", "edition")
    assert books.by_name["author"].references == Reference("authors", "id", "cascade")
    (key,) = tables["loans"].relations
    assert (key.collection, key.local, key.foreign, key.on_delete) == ("books", ("isbn", "edition"), ("isbn", "edition"), "set_null")


def test_a_table_without_a_key_can_only_be_read_and_one_with_a_trigger_is_not_written_jointly(tables):
    assert tables["loans"].read_only
    assert not tables["loans"].insertable_jointly
    assert tables["books"].insertable_jointly


def test_partial_indexes_are_left_out(tables):
    assert [(index.name, [(part.name, part.descending) for part in index.fields]) for index in tables["books"].indexes] == [
        ("books_by_author", [("author", False), ("note", True)])
    ]


@pytest.mark.parametrize(
    ("declared", "base", "native"),
    [
        ("UUID_TEXT", Base.UUID, None),
        ("DATETIME_TEXT", Base.DATETIME, None),
        ("SCALED_DECIMAL(12,2)", Base.DECIMAL, None),
        ("JSON_TEXT", Base.JSON, None),
        ("DATETIME", Base.DATETIME, "DATETIME"),
        ("NUMERIC(5, 2)", Base.DECIMAL, "NUMERIC(5, 2)"),
        ("INTEGER", Base.BIGINT, None),
        ("UNSIGNED BIG INT", Base.BIGINT, None),
        ("NVARCHAR(20)", Base.STRING, None),
        ("DOUBLE PRECISION", Base.FLOAT, None),
        ("BLOB", Base.BINARY, None),
        ("", Base.NATIVE, "ANY"),
        ("WHATEVER", Base.NATIVE, "WHATEVER"),
    ],
)
def test_types_follow_their_names_and_sqlites_affinity(declared, base, native):
    found = field_type(declared)
    assert (found.base, found.native) == (base, native)


def test_the_fingerprint_changes_with_the_schema_alone():
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    before = fingerprint(connection)
    connection.execute("INSERT INTO authors (email) VALUES ('a')")
    assert fingerprint(connection) == before
    connection.execute("DROP INDEX partly")
    assert fingerprint(connection) != before
