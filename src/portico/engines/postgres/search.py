"""Searches: one statement over the table of what is searched, by its index; and the excerpts of what was found.

The words of a scope stand in the index beside those of the documents, so that it gives the caller's own documents alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from portico.engines.base import HIT_BEGIN, HIT_END, Hit
from portico.engines.sql.search_words import CLIENT, COLLECTION, LABELS, MARK, OWNER, is_owned, weights
from portico.model.collection import Search as Declared
from portico.model.scope import Scope
from portico.query.scoped import Search, Searched

if TYPE_CHECKING:
    from portico.engines.postgres.pool import Connection

MOST_RANKED = 10_000
"""Of the documents that match, so many are ranked: a word that half of a million documents hold is answered in time."""

_HEADLINE = f"StartSel={HIT_BEGIN}, StopSel={HIT_END}, MaxFragments=2, MaxWords=24, MinWords=8, FragmentDelimiter= … "
_LOWER_THRESHOLD = "SELECT set_config('pg_trgm.word_similarity_threshold', '0.3', true)"
"""Two letters that changed places leave a third of a word's trigrams; pg_trgm's own threshold is 0.6."""

_TRIGRAM_SCHEMA = "SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm'"


async def find(connection: Connection, query: Search, scope: Scope, limit: int, timeout: float | None) -> list[Hit]:
    """The best matches by the words as the language reads them."""
    values: list[object] = []
    languages, text = _languages(query, values)
    parts = [
        f"coalesce({_bind(values, _scope(item, scope))}::text::tsquery && q.{languages[_language(item)]}, '')" for item in query.collections
    ]
    names = [_bind(values, item.collection.name) for item in query.collections]
    own = " ".join(f"WHEN {name}::text THEN q.{languages[_language(item)]}" for name, item in zip(names, query.collections, strict=True))
    scale = " ".join(f"WHEN {name}::text THEN '{_ranks(item)}'::real[]" for name, item in zip(names, query.collections, strict=True))
    ranked = f"ts_rank(CASE f.collection {scale} END, f.words, CASE f.collection {own} END, 1)::float8"
    sql = (
        f"WITH q AS MATERIALIZED (SELECT {text}), found AS MATERIALIZED ("  # noqa: S608  # parameters, numbers and constants
        f"SELECT s.collection, s.document_key, s.words FROM q, portico.search s"
        f" WHERE s.words @@ ({' || '.join(parts)}) LIMIT {MOST_RANKED})"
        f" SELECT f.collection, f.document_key, {ranked} AS score"
        f" FROM q, found f ORDER BY score DESC, f.collection, f.document_key LIMIT {int(limit)}"
    )
    return [Hit(*row) for row in await connection.fetch(sql, *values, timeout=timeout)]


async def find_similar(connection: Connection, query: Search, scope: Scope, limit: int, timeout: float | None) -> list[Hit]:
    """The best matches by words that are written alike: each group has one that is similar to one of the document's, by trigrams."""
    schema = str(await connection.fetchval(_TRIGRAM_SCHEMA)).replace('"', '""')
    values: list[object] = []
    scopes = " || ".join(f"{_bind(values, _scope(item, scope))}::text::tsquery" for item in query.collections)
    conditions, scores = [], []
    for group in query.text.groups:
        terms = [f"{_bind(values, term)}::text" for term in group]
        conditions.append("(" + " OR ".join(f's.body OPERATOR("{schema}".%>) {term}' for term in terms) + ")")
        scores.append("greatest(" + ", ".join(f'"{schema}".word_similarity({term}, f.body)' for term in terms) + ")")
    conditions += [f"NOT s.words @@ phraseto_tsquery('simple', {_bind(values, term)}::text)" for term in query.text.excluded]
    sql = (
        f"WITH found AS MATERIALIZED (SELECT s.collection, s.document_key, s.body FROM portico.search s"  # noqa: S608  # as above
        f" WHERE s.words @@ ({scopes}) AND {' AND '.join(conditions)} LIMIT {MOST_RANKED})"
        f" SELECT f.collection, f.document_key, (({' + '.join(scores)}) / {len(scores)})::float8 AS score"
        f" FROM found f ORDER BY score DESC, f.collection, f.document_key LIMIT {int(limit)}"
    )
    async with connection.transaction(readonly=True):
        await connection.execute(_LOWER_THRESHOLD)
        return [Hit(*row) for row in await connection.fetch(sql, *values, timeout=timeout)]


async def excerpts(connection: Connection, query: Search, hits: Sequence[Hit], timeout: float | None) -> list[str]:
    """The parts of each document in which the words stand."""
    values: list[object] = [[hit.collection for hit in hits], [hit.key for hit in hits]]
    languages, text = _languages(query, values)
    chosen = " ".join(
        f"WHEN {_bind(values, item.collection.name)}::text THEN ts_headline({_bind(values, _language(item))}::text::regconfig,"
        f" translate(s.body, chr(2) || chr(3), ''), q.{languages[_language(item)]}, {_bind(values, _HEADLINE)}::text)"
        for item in query.collections
    )
    sql = (
        f"WITH q AS MATERIALIZED (SELECT {text}) SELECT CASE s.collection {chosen} END FROM q,"  # noqa: S608  # as above
        " unnest($1::text[], $2::text[]) WITH ORDINALITY AS h(collection, key, n)"
        " LEFT JOIN portico.search s ON s.collection = h.collection AND s.document_key = h.key ORDER BY h.n"
    )
    return [row[0] or "" for row in await connection.fetch(sql, *values, timeout=timeout)]


def _bind(values: list[object], value: object) -> str:
    values.append(value)
    return f"${len(values)}"


def _language(item: Searched) -> str:
    declared = item.collection.search
    assert declared is not None, "only searchable collections are searched"
    return declared.language


def _languages(query: Search, values: list[object]) -> tuple[dict[str, str], str]:
    """The query in each language, as columns of `q`: their names by language, and their SQL. It is null where only stop words are left."""
    columns: dict[str, str] = {}
    parts: list[str] = []
    for item in query.collections:
        language = _language(item)
        if language in columns:
            continue
        columns[language] = f"q{len(columns)}"
        config = f"{_bind(values, language)}::text::regconfig"
        terms = {term: f"phraseto_tsquery({config}, {_bind(values, term)}::text)" for term in dict.fromkeys(query.text.terms)}
        groups = ["(" + " || ".join(terms[term] for term in group) + ")" for group in query.text.groups]
        wanted = " && ".join(groups)
        unwanted = "".join(f" && !!{terms[term]}" for term in query.text.excluded)
        parts.append(f"CASE WHEN numnode({wanted}) > 0 THEN {wanted}{unwanted} END AS {columns[language]}")
    return columns, ", ".join(parts)


def _scope(item: Searched, scope: Scope) -> str:
    """The words that the documents of a collection have which the scope may see, as the text of a tsquery."""
    words = [_lexeme(COLLECTION + item.collection.name)]
    if item.belongs is not None:
        kind, ids = (OWNER, scope.users) if scope.users and is_owned(item.belongs) else (CLIENT, scope.clients)
        words.append("(" + (" | ".join(_lexeme(kind + text) for text in ids) or _lexeme("nobody")) + ")")
    return " & ".join(words)


def _lexeme(text: str) -> str:
    return "'" + (MARK + text).replace("\\", "\\\\").replace("'", "''") + "'"


def _ranks(item: Searched) -> str:
    """The weights of ``{D, C, B, A}``, as PostgreSQL takes them, relative to the heaviest."""
    declared: Declared | None = item.collection.search
    assert declared is not None, "only searchable collections are searched"
    steps = weights(declared)
    most = max(steps) or 1.0
    all_four = [*(max(step, 0.0) / most for step in steps), *([0.0] * (len(LABELS) - len(steps)))]
    return "{" + ",".join(f"{value:.6f}" for value in reversed(all_four)) + "}"
