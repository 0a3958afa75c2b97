"""Search on SQLite: one table of what is searched, FTS5 indexes over it for each way of stemming, and triggers for each collection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from portico.engines.sql.identifiers import quote
from portico.engines.sql.search_owners import Writing, document_key, whose
from portico.engines.sql.search_words import labels
from portico.model.collection import Collection
from portico.model.companions import SQLITE_PREFIX

TABLE = SQLITE_PREFIX + "search"
INDEXES = {"english": "porter unicode61 remove_diacritics 2", "simple": "unicode61 remove_diacritics 2"}
"""FTS5's stemmer knows English alone; every other language is searched by its words as they are written."""

ROWS_AT_ONCE = 2_000
_EVENTS = ("insert", "update", "delete")
_WRITING = Writing(text="CAST({} AS TEXT)".format, table=lambda collection, name: f"{quote(collection.table)} AS {name}", nothing=None)


def stemming(language: str) -> str:
    """Which of `INDEXES` a language's collections are in."""
    return language if language in INDEXES else "simple"


def scope_word(kind: str, text_sql: str) -> str:
    """SQL for the word that says whose a document is: letters and digits alone, whatever the id holds."""
    return f"'{kind}' || hex({text_sql}) || '0'"


def scope_token(kind: str, text: str) -> str:
    """The word that `scope_word` gives for a text. Its last digit keeps the stemmer from taking an ending off it."""
    return f"{kind}{text.encode().hex().upper()}0"


def literal(text: str) -> str:
    """A text as a literal of SQLite's SQL."""
    return "'" + text.replace("'", "''") + "'"


class SqliteSearch:
    """Makes and fills the search of an SQLite file."""

    def prepare(self, connection: sa.Connection, wanted: Sequence[Collection], known: Mapping[str, Collection]) -> tuple[Collection, ...]:
        """As `create_search`."""
        there = self._triggers(connection)
        if not wanted and not there:
            return ()
        self._create_tables(connection)
        statements = {name: text for item in wanted for name, text in self._statements(item, known).items()}
        for name in there.keys() - statements.keys():
            connection.exec_driver_sql(f"DROP TRIGGER {quote(name)}")
        unfilled: list[Collection] = []
        for collection in wanted:
            own = self._statements(collection, known)
            if all(there.get(name) == text for name, text in own.items()):
                continue
            for name, text in own.items():
                connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {quote(name)}")
                connection.exec_driver_sql(text)
            connection.exec_driver_sql(f"DELETE FROM {TABLE} WHERE collection = {literal(collection.name)}")  # noqa: S608  # literals
            unfilled.append(collection)
        names = ", ".join(literal(item.name) for item in wanted) or "NULL"
        connection.exec_driver_sql(f"DELETE FROM {TABLE} WHERE collection NOT IN ({names})")  # noqa: S608  # literals
        return tuple(unfilled)

    def fill(self, connection: sa.Connection, collection: Collection, known: Mapping[str, Collection]) -> Iterator[None]:
        """As `fill_search`. It is one transaction: the writer is alone, and a run that is killed leaves the triggers to be made again."""
        select = self._select(collection, known, "t", f" FROM {quote(collection.table)} AS t")
        connection.exec_driver_sql(f"INSERT OR IGNORE INTO {TABLE} (collection, document_key, language, scope, strong, body) {select}")
        yield

    @staticmethod
    def _triggers(connection: sa.Connection) -> dict[str, str]:
        found = connection.exec_driver_sql(
            f"SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name GLOB '{TABLE}#*'"  # noqa: S608  # constants
        )
        return {str(name): str(text) for name, text in found}

    @staticmethod
    def _create_tables(connection: sa.Connection) -> None:
        connection.exec_driver_sql(
            f"CREATE TABLE IF NOT EXISTS {TABLE} (id INTEGER PRIMARY KEY, collection TEXT NOT NULL, document_key TEXT NOT NULL,"
            " language TEXT NOT NULL, scope TEXT NOT NULL, strong TEXT NOT NULL, body TEXT NOT NULL, UNIQUE (collection, document_key))"
        )
        for language, tokenizer in INDEXES.items():
            index = f"{TABLE}_{language}"
            connection.exec_driver_sql(
                f"CREATE VIRTUAL TABLE IF NOT EXISTS {index} USING fts5(scope, strong, body,"
                f" content='{TABLE}', content_rowid='id', tokenize='{tokenizer}')"
            )
            row = "{0}.id, {0}.scope, {0}.strong, {0}.body"
            for event, image in (("INSERT", "new"), ("DELETE", "old")):
                command = ("", "") if event == "INSERT" else (f"{index}, ", "'delete', ")
                into = f"INSERT INTO {index} ({command[0]}rowid, scope, strong, body)"
                connection.exec_driver_sql(
                    f"CREATE TRIGGER IF NOT EXISTS {index}_{event.lower()} AFTER {event} ON {TABLE}"
                    f" WHEN {image}.language = '{language}' BEGIN {into} VALUES ({command[1]}{row.format(image)}); END"
                )

    def _statements(self, collection: Collection, known: Mapping[str, Collection]) -> dict[str, str]:
        """The triggers of a collection, by name."""
        table = quote(collection.table)
        made: dict[str, str] = {}
        for event in _EVENTS:
            name = f"{TABLE}#{collection.table}#{event}"
            key = document_key(collection, "old", _WRITING)
            gone = f"DELETE FROM {TABLE} WHERE collection = {literal(collection.name)} AND document_key = {key}; "  # noqa: S608
            columns = f"INSERT INTO {TABLE} (collection, document_key, language, scope, strong, body) "
            there = f"{columns}{self._select(collection, known, 'new', '')}; "
            work = {"insert": there, "update": gone + there, "delete": gone}[event]
            made[name] = f"CREATE TRIGGER {quote(name)} AFTER {event.upper()} ON {table} BEGIN {work}END"
        return made

    def _select(self, collection: Collection, known: Mapping[str, Collection], row: str, source: str) -> str:
        search = collection.search
        assert search is not None, "only searchable collections are searched"
        places = labels(search)
        strong, body = (
            [name for name in search.fields if (places[name] == 0 and len(set(places.values())) > 1) is heavy] for heavy in (True, False)
        )
        client, owner = whose(collection, known, row, _WRITING)
        scope = [f"'{scope_token('t', collection.name)}'"]
        scope += [f"coalesce(' ' || {scope_word(kind, text)}, '')" for kind, text in (("c", client), ("u", owner)) if text is not None]
        values = [
            literal(collection.name), document_key(collection, row, _WRITING), literal(stemming(search.language)), " || ".join(scope),
            _texts(collection, strong, row), _texts(collection, body, row),
        ]  # fmt: skip
        return f"SELECT {', '.join(values)}{source}"  # names and literals


def _texts(collection: Collection, names: Sequence[str], row: str) -> str:
    parts = [f"coalesce(CAST({row}.{quote(collection.by_name[name].column)} AS TEXT), '')" for name in names]
    return " || char(10) || ".join(parts) or "''"
