"""What a search asks for: words and phrases that must be there, alternatives, and what must not be there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from portico.errors import InvalidParameter

MOST_TERMS = 32
MOST_CHARACTERS = 1_000
_PART = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')
_LETTERS = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class SearchText:
    """A parsed search, in the grammar of PostgreSQL's ``websearch_to_tsquery``: words, ``"a phrase"``, ``or`` between two, ``-without``.

    Attributes:
        groups: each a set of alternatives; a document has one of every group.
        excluded: what a document has none of.
    """

    groups: tuple[tuple[str, ...], ...]
    excluded: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[tuple[int, ...], int]:
        """How many terms stand where: equal for searches that differ in their words alone."""
        return tuple(len(group) for group in self.groups), len(self.excluded)

    @property
    def terms(self) -> tuple[str, ...]:
        """Every term in order: those of the groups, then the excluded ones."""
        return tuple(term for group in self.groups for term in group) + self.excluded


def parse_search(text: str) -> SearchText:
    """Read a search.

    Raises:
        InvalidParameter: it has no word that must be there, or is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise InvalidParameter(f"A search has at most {MOST_CHARACTERS} characters.")
    if "\x00" in text:
        raise InvalidParameter("A search holds no U+0000.")
    groups: list[list[str]] = []
    excluded: list[str] = []
    alternative = False
    for minus, phrase, word in _PART.findall(text):
        term = (phrase or word).strip()
        if word.lower() == "or" and not minus and groups:
            alternative = True
        elif not _LETTERS.search(term):
            continue
        elif minus:
            excluded.append(term)
        elif alternative:
            groups[-1].append(term)
            alternative = False
        else:
            groups.append([term])
            alternative = False
    if not groups:
        raise InvalidParameter("A search needs a word that is looked for.", hint='Such as: invoice -draft "late fee"')
    found = SearchText(tuple(tuple(group) for group in groups), tuple(excluded))
    if len(found.terms) > MOST_TERMS:
        raise InvalidParameter(f"A search has at most {MOST_TERMS} words and phrases.")
    return found
