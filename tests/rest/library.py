"""The library over which the clients are run: authors and their books, declared once for every engine, and what PostgreSQL adds."""

from __future__ import annotations

from typing import Any

Document = dict[str, Any]

AUTHORS: Document = {
    "name": "authors",
    "fields": [
        {"name": "id", "type": "integer", "required": True, "constraints": ["primary_key"]},
        {"name": "name", "type": "string(100)", "required": True, "constraints": ["unique"]},
        {"name": "born", "type": "date"},
    ],
    "security": {"access_control": "shared"},
}
BOOKS: Document = {
    "name": "books",
    "fields": [
        {"name": "id", "type": "integer", "required": True, "constraints": ["primary_key"]},
        {"name": "author_id", "type": "integer", "constraints": ["references:authors.id"]},
        {"name": "title", "type": "text", "required": True, "constraints": ["max_length:200"]},
        {"name": "price", "type": "decimal(8,2)"},
        {"name": "pages", "type": "integer", "default_value": 100, "constraints": ["min:0"]},
        {"name": "in_print", "type": "boolean"},
        {"name": "published", "type": "datetime"},
        {"name": "tags", "type": "text[]"},
        {"name": "detail", "type": "json"},
    ],
    "relations": [{"name": "author", "collection": "authors", "local": "author_id", "foreign": "id"}],
    "security": {"access_control": "shared"},
}
FUNCTIONS = (
    "add_them", "loans_of", "prices", "titles", "lend", "lend_all", "first_loan", "refuse", "raise_as", "whole_json", "whole_text",
    "whole_bytes", "joined", "local_time",
)  # fmt: skip
CONFIG: Document = {"collections": [AUTHORS, BOOKS], "functions": [{"name": name} for name in FUNCTIONS]}

OF_POSTGRES = """
CREATE SCHEMA annex;
CREATE TABLE annex.maps (id int PRIMARY KEY, name text NOT NULL);
CREATE TABLE public.loans (id int PRIMARY KEY, book_id int NOT NULL REFERENCES app.books, during int4range NOT NULL, words tsvector);
CREATE FUNCTION public.add_them(a int, b int DEFAULT 10) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE FUNCTION public.loans_of(book int) RETURNS SETOF public.loans LANGUAGE sql STABLE AS
  'SELECT * FROM public.loans WHERE book_id = book';
CREATE FUNCTION public.prices() RETURNS TABLE (title text, price numeric(8,2)) LANGUAGE sql STABLE AS 'SELECT title, price FROM app.books';
CREATE FUNCTION public.titles() RETURNS SETOF text LANGUAGE sql STABLE AS 'SELECT title FROM app.books ORDER BY id';
CREATE FUNCTION public.lend(book int) RETURNS void LANGUAGE sql AS
  $$INSERT INTO public.loans SELECT 1 + max(id), book, '[100,200)' FROM public.loans$$;
CREATE FUNCTION public.first_loan() RETURNS public.loans LANGUAGE sql STABLE AS 'SELECT * FROM public.loans ORDER BY id LIMIT 1';
CREATE FUNCTION public.refuse(why text) RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION '%', why; END$$;
CREATE FUNCTION public.lend_all() RETURNS SETOF public.loans LANGUAGE sql AS
  $$INSERT INTO public.loans SELECT id + 10, book_id, '[200,300)' FROM public.loans RETURNING *$$;
CREATE FUNCTION public.raise_as(state text, message text, detail text DEFAULT '', hint text DEFAULT '') RETURNS int LANGUAGE plpgsql AS
  $$BEGIN RAISE EXCEPTION USING ERRCODE = state, MESSAGE = message, DETAIL = detail, HINT = hint; END$$;
CREATE FUNCTION public.whole_json(json) RETURNS text LANGUAGE sql IMMUTABLE AS $$SELECT json_typeof($1)$$;
CREATE FUNCTION public.whole_text(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length($1)';
CREATE FUNCTION public.whole_bytes(bytea) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length($1)';
CREATE FUNCTION public.joined(first text, VARIADIC others int[]) RETURNS text LANGUAGE sql IMMUTABLE AS
  $$SELECT first || ':' || array_to_string(others, ',')$$;
CREATE FUNCTION public.local_time(moment timestamptz) RETURNS text LANGUAGE sql STABLE AS 'SELECT moment::text';
CREATE FUNCTION public.hidden_one() RETURNS int LANGUAGE sql AS 'SELECT 1';
GRANT USAGE ON SCHEMA annex TO appuser;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public, annex TO appuser;
INSERT INTO annex.maps VALUES (1, 'Atlas');
"""
ROWS_OF_POSTGRES = """
INSERT INTO public.loans VALUES (1, 1, '[1,10)', 'fat cat'), (2, 1, '[10,20)', 'thin dog'), (3, 1, '[30,40)', 'fat rat');
"""

WRITERS: list[Document] = [
    {"id": 1, "name": "Ada", "born": "1815-12-10"},
    {"id": 2, "name": "Bo", "born": None},
    {"id": 3, "name": "Cy", "born": "1900-01-01"},
]
VOLUMES: list[Document] = [
    {
        "id": 1, "author_id": 1, "title": "Notes", "price": 12.5, "pages": 65, "in_print": True, "published": "1843-09-01T10:00:00Z",
        "tags": ["maths", "engine"], "detail": {"lang": "en", "n": 1, "deep": {"a": [1, 2]}},
    },
    {
        "id": 2, "author_id": 1, "title": "More Notes", "price": None, "pages": 130, "in_print": False,
        "published": "1844-01-02T03:04:05.6789Z", "tags": ["maths"], "detail": {"lang": "fr", "n": 2},
    },
    {
        "id": 3, "author_id": 2, "title": "a,b (c) \"d\"", "price": 7, "pages": 65, "in_print": True, "published": None,
        "tags": [], "detail": None,
    },
    {
        "id": 4, "author_id": None, "title": "Nobody's 50%_", "price": 99.99, "pages": 800, "in_print": None,
        "published": "2020-02-29T23:59:59.999999Z", "tags": ["x y", "a,b"], "detail": {"lang": "en", "n": 4},
    },
]  # fmt: skip
