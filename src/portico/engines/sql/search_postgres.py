"""Search on PostgreSQL: a table with a GIN index, and a trigger function for each collection."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from portico.engines.sql.companions_ddl import APPLICATION_ROLE, BACKUP_ROLE
from portico.engines.sql.identifiers import APP_SCHEMA, quote
from portico.engines.sql.search_owners import Writing, document_key, whose
from portico.engines.sql.search_words import CLIENT, COLLECTION, LABELS, MARK, OWNER, labels
from portico.model.collection import Collection
from portico.model.companions import SCHEMA

PREFIX = "search_"
TRIGGER = "search_write"
TABLE = f"{SCHEMA}.search"
MOST_CHARACTERS = 150_000
"""Of a document's text, all fields together: a tsvector holds a megabyte, of characters with up to four bytes and their places."""

ROWS_AT_ONCE = 2_000
_INDEXING, _INDEXED = "indexing ", "indexed "

_CREATE = (
    (
        f"CREATE TABLE IF NOT EXISTS {TABLE} (collection text NOT NULL, document_key text NOT NULL, words tsvector NOT NULL,"
        " body text NOT NULL, PRIMARY KEY (collection, document_key))"
    ),
    f"CREATE INDEX IF NOT EXISTS idx_search_words ON {TABLE} USING gin (words)",
)
_TRIGRAMS = f"CREATE INDEX IF NOT EXISTS idx_search_body ON {TABLE} USING gin (body {{}}.gin_trgm_ops)"
_EXTENSION = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'"
_FUNCTIONS = f"""SELECT p.proname, coalesce(obj_description(p.oid, 'pg_proc'), '') FROM pg_proc p
 JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = '{SCHEMA}' AND starts_with(p.proname, '{PREFIX}')"""  # noqa: S608


def literal(text: str) -> str:
    """A text as a literal of PostgreSQL's SQL, whatever it holds."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"E'{escaped}'"


class PostgresSearch:
    """Makes and fills the search of a PostgreSQL database."""

    def prepare(self, connection: sa.Connection, wanted: Sequence[Collection], known: Mapping[str, Collection]) -> tuple[Collection, ...]:
        """As `create_search`."""
        if not wanted and not connection.scalar(sa.text("SELECT to_regclass(:name)"), {"name": TABLE}):
            return ()
        self._create_table(connection)
        there: dict[str, str] = {str(name): str(comment) for name, comment in connection.execute(sa.text(_FUNCTIONS))}
        names = {_function(item): item for item in wanted}
        for name in there.keys() - names.keys():
            connection.exec_driver_sql(f"DROP FUNCTION {SCHEMA}.{quote(name)}() CASCADE")
        unfilled: list[Collection] = []
        for name, collection in names.items():
            body = self._body(collection, known)
            mark = hashlib.sha256(body.encode()).hexdigest()
            if there.get(name) == _INDEXED + mark and self._has_trigger(connection, collection):
                continue
            self._replace(connection, collection, name, body, mark)
            unfilled.append(collection)
        return tuple(unfilled)

    def fill(self, connection: sa.Connection, collection: Collection, known: Mapping[str, Collection]) -> Iterator[None]:
        """As `fill_search`. The rows are read with a lock that lets nobody change them before their words are committed."""
        table = _table(collection)
        keys = [quote(field.column) for field in collection.key_fields]
        row = f"({', '.join(keys)})"
        values = _escaped(self._values(collection, known, "t"))
        last: Sequence[object] | None = ()
        while last is not None:
            following = f"WHERE {row} > ({', '.join(['%s'] * len(last))})" if last else ""
            batch = f"SELECT * FROM {table} {following} ORDER BY {', '.join(keys)} LIMIT {ROWS_AT_ONCE} FOR SHARE"  # noqa: S608  # names
            text = (
                f"WITH t AS MATERIALIZED ({batch}), made AS (INSERT INTO {TABLE} (collection, document_key, words, body) "  # noqa: S608
                f"SELECT {values} FROM t ON CONFLICT (collection, document_key) DO UPDATE SET words = excluded.words, body = excluded.body)"
                f" SELECT {', '.join(keys)} FROM t ORDER BY {row} DESC LIMIT 1"
            )
            connection.exec_driver_sql("SELECT set_config('portico.all', 'on', true)")
            last = connection.exec_driver_sql(text, tuple(last)).first()
            yield
        body = self._body(collection, known)
        mark = hashlib.sha256(body.encode()).hexdigest()
        connection.exec_driver_sql(f"COMMENT ON FUNCTION {SCHEMA}.{quote(_function(collection))}() IS '{_INDEXED}{mark}'")

    @staticmethod
    def _create_table(connection: sa.Connection) -> None:
        for statement in _CREATE:
            connection.exec_driver_sql(statement)
        schema = connection.scalar(sa.text(_EXTENSION))
        if schema is not None:
            connection.exec_driver_sql(_TRIGRAMS.format(quote(str(schema))))
        roles = set(connection.scalars(sa.text("SELECT rolname FROM pg_roles WHERE rolname IN ('appuser', 'backupuser')")))
        for role in roles & {APPLICATION_ROLE, BACKUP_ROLE}:
            connection.exec_driver_sql(f"GRANT SELECT ON {TABLE} TO {role}")

    def _replace(self, connection: sa.Connection, collection: Collection, name: str, body: str, mark: str) -> None:
        function, table = f"{SCHEMA}.{quote(name)}", _table(collection)
        fields = dict.fromkeys([*collection.primary_key, *_deciding(collection), *(collection.search.fields if collection.search else ())])
        columns = ", ".join(quote(collection.by_name[field].column) for field in fields)
        connection.exec_driver_sql(
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
            f" SET search_path = pg_catalog, pg_temp AS {_escaped(literal(body))}"
        )
        connection.exec_driver_sql(f"REVOKE ALL ON FUNCTION {function}() FROM PUBLIC")
        connection.exec_driver_sql(f"COMMENT ON FUNCTION {function}() IS '{_INDEXING}{mark}'")
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {TRIGGER} ON {table}")
        event = f"INSERT OR DELETE OR UPDATE OF {columns}"
        connection.exec_driver_sql(f"CREATE TRIGGER {TRIGGER} AFTER {event} ON {table} FOR EACH ROW EXECUTE FUNCTION {function}()")
        connection.exec_driver_sql(f"DELETE FROM {TABLE} WHERE collection = {_escaped(literal(collection.name))}")  # noqa: S608

    @staticmethod
    def _has_trigger(connection: sa.Connection, collection: Collection) -> bool:
        found = connection.scalar(
            sa.text("SELECT 1 FROM pg_trigger WHERE tgrelid = to_regclass(:name) AND tgname = :trigger"),
            {"name": _table(collection), "trigger": TRIGGER},
        )
        return found is not None

    def _body(self, collection: Collection, known: Mapping[str, Collection]) -> str:
        was = f"collection = {literal(collection.name)} AND document_key = {document_key(collection, 'OLD', _WRITING)}"
        columns = f"INSERT INTO {TABLE} (collection, document_key, words, body)"
        # `portico.all` lets it look up owners under row-level security; a function's own SET clause takes no setting of ours.
        return f"""DECLARE before text := coalesce(current_setting('portico.all', true), '');
BEGIN
 PERFORM set_config('portico.all', 'on', true);
 IF TG_OP <> 'INSERT' THEN DELETE FROM {TABLE} WHERE {was}; END IF;
 IF TG_OP <> 'DELETE' THEN {columns} SELECT {self._values(collection, known, "NEW")}; END IF;
 PERFORM set_config('portico.all', before, true);
 RETURN NULL;
END"""  # noqa: S608  # names and literals

    def _values(self, collection: Collection, known: Mapping[str, Collection], row: str) -> str:
        """The values of a row of what is searched, of the row `row` of the collection's table."""
        search = collection.search
        assert search is not None, "only searchable collections are searched"
        most = MOST_CHARACTERS // len(search.fields)
        texts = {name: f"left(coalesce({row}.{quote(collection.by_name[name].column)}::text, ''), {most})" for name in search.fields}
        language = f"{literal(search.language)}::regconfig"
        labelled = labels(search)
        words = [f"setweight(to_tsvector({language}, {text}), '{LABELS[labelled[name]]}')" for name, text in texts.items()]
        client, owner = whose(collection, known, row, _WRITING)
        scope = [
            literal(MARK + COLLECTION + collection.name),
            f"{literal(MARK + CLIENT)} || {client}",
            f"{literal(MARK + OWNER)} || {owner}",
        ]
        words.append(f"array_to_tsvector(array_remove(ARRAY[{', '.join(scope)}], NULL))")
        whole = " || chr(10) || ".join(texts.values())
        return f"{literal(collection.name)}, {document_key(collection, row, _WRITING)}, {' || '.join(words)}, {whole}"


def _escaped(text: str) -> str:
    """SQL whose percent signs the driver is not to take for parameters."""
    return text.replace("%", "%%")


def _function(collection: Collection) -> str:
    # A name has at most 63 bytes; the hash tells apart what the cut makes equal.
    digest = hashlib.sha256(collection.name.encode()).hexdigest()[:8]
    return f"{PREFIX}{collection.name.encode()[:40].decode(errors='ignore')}_{digest}"


def _table(collection: Collection) -> str:
    return f"{quote(collection.schema or APP_SCHEMA)}.{quote(collection.table)}"


def _deciding(collection: Collection) -> tuple[str, ...]:
    """The fields that decide whose a document is."""
    security = collection.security
    names = (security.tenant_field, security.owner_field)
    parent = next((item for item in collection.relations if item.name == security.relation), None)
    return tuple(name for name in (*names, *(parent.local if parent else ())) if name is not None and name in collection.by_name)


_WRITING = Writing(text="{}::text".format, table=lambda collection, name: f"{_table(collection)} {name}", nothing="NULL::text")
