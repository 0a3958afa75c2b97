"""Searches by FTS5, and the excerpts of what was found."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from portico.engines.base import HIT_BEGIN, HIT_END, Hit
from portico.engines.sql.search_sqlite import INDEXES, TABLE, scope_token, stemming
from portico.engines.sql.search_words import is_owned, weights
from portico.model.scope import Scope
from portico.query.scoped import Search, Searched

EXCERPT_TOKENS = 24
_WORDS = "{strong body} : "


def find(connection: sqlite3.Connection, query: Search, scope: Scope, limit: int) -> list[Hit]:
    """The best matches of each index, the better ones first."""
    hits: list[Hit] = []
    for language in INDEXES:
        chosen = [item for item in query.collections if _stemming(item) == language]
        if not chosen:
            continue
        index, heavy = f"{TABLE}_{language}", max(max(weights(item.collection.search)) for item in chosen if item.collection.search)
        sql = (
            f"SELECT s.collection, s.document_key, -bm25({index}, 0.0, ?, 1.0) AS score FROM {index} "  # noqa: S608  # constants
            f"JOIN {TABLE} AS s ON s.id = {index}.rowid WHERE {index} MATCH ? ORDER BY score DESC, s.collection, s.document_key LIMIT ?"
        )
        inside = " OR ".join(f"({_scope(item, scope)})" for item in chosen)
        found = connection.execute(sql, (heavy, f"({inside}) AND {_matching(query)}", limit))
        hits += [Hit(*row) for row in found]
    hits.sort(key=lambda hit: (-hit.score, hit.collection, hit.key))
    return hits[:limit]


def excerpts(connection: sqlite3.Connection, query: Search, hits: Sequence[Hit]) -> list[str]:
    """The part of each document in which the words stand."""
    languages = {item.collection.name: _stemming(item) for item in query.collections}
    found: list[str] = []
    for hit in hits:
        index = f"{TABLE}_{languages[hit.collection]}"
        sql = (
            f"SELECT snippet({index}, -1, ?, ?, '…', {EXCERPT_TOKENS}) FROM {index} WHERE {index} MATCH ? AND rowid ="  # noqa: S608  # constants
            f" (SELECT id FROM {TABLE} WHERE collection = ? AND document_key = ?)"
        )
        row = connection.execute(sql, (HIT_BEGIN, HIT_END, _matching(query), hit.collection, hit.key)).fetchone()
        found.append(row[0] if row is not None else "")
    return found


def _matching(query: Search) -> str:
    """The words as FTS5's expression: every one a quoted string, in which nothing has a meaning."""
    groups = ["(" + " OR ".join(_string(term) for term in group) + ")" for group in query.text.groups]
    wanted = f"{_WORDS}({' AND '.join(groups)})"
    if not query.text.excluded:
        return f"({wanted})"
    return f"(({wanted}) NOT ({_WORDS}({' OR '.join(_string(term) for term in query.text.excluded)})))"


def _scope(item: Searched, scope: Scope) -> str:
    """The words that the documents of a collection have which the scope may see."""
    words = [f'scope : "{scope_token("t", item.collection.name)}"']
    if item.belongs is not None:
        kind, ids = ("u", scope.users) if scope.users and is_owned(item.belongs) else ("c", scope.clients)
        words.append("scope : (" + (" OR ".join(f'"{scope_token(kind, text)}"' for text in ids) or '"nobody"') + ")")
    return " AND ".join(words)


def _stemming(item: Searched) -> str:
    declared = item.collection.search
    assert declared is not None, "only searchable collections are searched"
    return stemming(declared.language)


def _string(term: str) -> str:
    return '"' + term.replace('"', '""') + '"'
