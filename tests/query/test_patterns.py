"""Patterns have one grammar and one meaning: what a pattern matches in RE2 it matches in PostgreSQL, and nothing else."""

from __future__ import annotations

import time

import psycopg
import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.errors import InvalidValue
from portico.query.patterns import check, fold, like_to_re2, to_postgres, to_re2

CHARACTERS = "aAbBkKsS019_ -.\n\té\u212aſßẞ]^\\"
_literals = st.sampled_from(
    ["a", "b", "A", "k", "s", "1", "_", " ", "-", "é", "ß", "\n", ",", "\\.", "\\\\", "\\*", "\\[", "\\]", "\\^", "\\-", "]", "}"]
)
_members = st.sampled_from(["a", "b", "a-z", "A-C", "0-9", "\\d", "\\w", "\\s", "é", "\\]", "\\^", "\\-", "\\\\", ".", "$", "k", "à-ü"])
_brackets = st.tuples(st.sampled_from(["", "^"]), st.lists(_members, min_size=1, max_size=3)).map(
    lambda parts: f"[{parts[0]}{''.join(parts[1])}]"
)
_atoms = _literals | _brackets | st.sampled_from([".", "\\d", "\\w", "\\s"])
_quantifiers = st.sampled_from(["", "", "", "*", "+", "?", "{2}", "{1,3}", "{0,2}", "{1,}", "{0}"])


def _joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    branch = st.lists(st.builds(str.__add__, inner, _quantifiers), max_size=3).map("".join)
    return st.lists(branch, min_size=1, max_size=3).map(lambda branches: f"({'|'.join(branches)})")


_pieces = st.builds(str.__add__, st.recursive(_atoms, _joined, max_leaves=5), _quantifiers)
_whole = st.tuples(
    st.sampled_from(["", "(?i)"]), st.sampled_from(["", "^"]), st.lists(_pieces, max_size=4).map("".join), st.sampled_from(["", "$"])
)
patterns = _whole.map("".join)
texts = st.text(st.sampled_from(CHARACTERS), max_size=8)


def _is_known(pattern: str) -> bool:
    try:
        check(pattern)
    except InvalidValue:
        return False
    return True


@given(patterns, texts)
@settings(max_examples=500, deadline=None)
def test_a_translation_matches_what_re2_itself_matches(pattern, text):
    if not _is_known(pattern):
        return
    ignore_case = pattern.startswith("(?i)")
    written = re2.search(f"(?{'i' if ignore_case else ''}s){pattern.removeprefix('(?i)')}", text)
    assert (re2.search(to_re2(pattern), text) is None) == (written is None)


@pytest.mark.database
def test_postgresql_and_re2_match_the_same(postgres_database):
    with psycopg.connect(postgres_database.dsn(), autocommit=True) as connection:

        @given(st.lists(st.tuples(patterns, texts), min_size=1, max_size=40))
        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        def agree(pairs: list[tuple[str, str]]) -> None:
            known = [(pattern, text) for pattern, text in pairs if _is_known(pattern)]
            asked = [[to_postgres(pattern) for pattern, _ in known], [text for _, text in known]]
            rows = connection.execute("SELECT t ~ p FROM unnest(%s::text[], %s::text[]) AS u(p, t)", asked).fetchall()
            assert [row[0] for row in rows] == [re2.search(to_re2(pattern), text) is not None for pattern, text in known]

        agree()


@pytest.mark.parametrize(
    "pattern",
    [
        "*a", "+", "a**", "a*?", "a{2}{3}", "a{101}", "a{3,2}", "a{", "a{,3}", "a{x}", "^*", "(a", "a)", "[a", "[]", "[b-a]",
        "[[:alpha:]]", "[a-\\d]", "(?=a)", "(?:a)", "(?<n>a)", "(?s)a", "a(?i)b", "\\1", "\\b", "\\D", "\\p{L}", "\\n", "a\\",
        "\\x41", "a\x00", "a" * 1_001, "(" * 30 + ")" * 30,
    ],
)  # fmt: skip
def test_what_is_outside_of_the_grammar_is_refused(pattern):
    with pytest.raises(InvalidValue):
        check(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a*)*b",
        "(a|a)*b",
        "(a|aa)+$",
        "(.*a){25}",
        "([a-c]|[c-d])*x",
        "(a?b?)*",
        "(?i)(a|A)*b",
        "((a{100}){100}){100}",
        "^(([a-z])+.)+[A-Z]([a-z])+$",
    ],
)
def test_a_pattern_that_could_take_exponential_time_is_refused(pattern):
    with pytest.raises(InvalidValue):
        check(pattern)


@pytest.mark.parametrize(
    "pattern", ["^(\\w+\\.)+com$", "(\\d{4}-){3}\\d{4}", "(ab|cd)*", "a.*b.*c", "(\\w+, )*\\w+", "[^@]+@[^@]+\\.[a-z]{2,10}", "", "(|a)"]
)
def test_patterns_that_people_write_are_accepted(pattern):
    check(pattern)


@given(st.text(st.sampled_from("ab|()[]*+?{}12,.^$\\d-")))
@settings(max_examples=500, deadline=None)
def test_every_text_is_decided_quickly_and_every_known_pattern_compiles(pattern):
    start = time.perf_counter()
    if _is_known(pattern):
        re2.compile(to_re2(pattern))
    assert time.perf_counter() - start < 5


def test_folding_is_said_once():
    assert fold("a") == "(?i)a"
    assert fold("(?i)a") == "(?i)a"


@pytest.mark.parametrize(
    ("pattern", "text", "ignore_case", "matches"),
    [
        ("a%", "abc", False, True),
        ("a_", "abc", False, False),
        ("a\\%", "a%", False, True),
        ("a\\%", "ab", False, False),
        ("%É", "é", True, True),
        ("%É", "é", False, False),
        ("a.c", "abc", False, False),
        ("a%c", "a\n\nc", False, True),
        ("", "", False, True),
    ],
)
def test_like_patterns_for_engines_without_them(pattern, text, ignore_case, matches):
    assert (re2.search(like_to_re2(pattern, ignore_case=ignore_case), text) is not None) == matches
