"""The one grammar of patterns (`match`, `$regex`, `pattern:`), checked here and translated for each engine.

Literals, ``. [] () | ^ $ * + ?``, ``{m,n}`` to 100, ``\\d \\w \\s`` (ASCII), and a leading ``(?i)``. A dot is any character, ``^`` and
``$`` are the ends of the text. Case is folded here, by Unicode's simple folding, so that no engine's or locale's own rules show.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from portico.errors import InvalidValue
from portico.query.folding import folded
from portico.query.pattern_ambiguity import is_catastrophic
from portico.query.pattern_tree import ANY, End, Pattern, PatternError, Piece, Ranges, Start, parse

IGNORE_CASE = "(?i)"
_Character = Callable[[int], str]


def check(pattern: str) -> None:
    """Raises InvalidValue for a pattern outside of the grammar, or one that could take exponential time somewhere."""
    problem = _problem(pattern)
    if problem is not None:
        raise InvalidValue(
            f"The pattern is not one that every engine understands: {problem}.",
            hint="Patterns have literals, . [] () | ^ $ * + ?, {m,n} to 100, \\d \\w \\s, and (?i) at their start.",
        )


def fold(pattern: str) -> str:
    """The pattern, ignoring case."""
    return pattern if pattern.startswith(IGNORE_CASE) else IGNORE_CASE + pattern


@lru_cache(maxsize=1024)
def to_postgres(pattern: str) -> str:
    """The pattern for PostgreSQL's ``~`` (an advanced regular expression). Raises InvalidValue."""
    check(pattern)
    return _emit_pattern(parse(pattern), _postgres_character, "^", "$")


@lru_cache(maxsize=1024)
def to_re2(pattern: str) -> str:
    """The pattern for RE2, which Go and PCRE read alike (a search, not a full match). Raises InvalidValue."""
    check(pattern)
    return "(?s)" + _emit_pattern(parse(pattern), _re2_character, r"\A", r"\z")


@lru_cache(maxsize=1024)
def like_to_re2(pattern: str, *, ignore_case: bool = False) -> str:
    """A `like` pattern (``%``, ``_``, escape ``\\``) for RE2, Go and PCRE, matching the whole text."""
    return rf"(?s)\A{_emit_like(pattern, _re2_character, ignore_case=ignore_case)}\z"


@lru_cache(maxsize=1024)
def ilike_to_postgres(pattern: str) -> str:
    """An `ilike` pattern for PostgreSQL's ``~``. Its own ILIKE folds as a collation says, and knows two small sigmas as two."""
    return f"^{_emit_like(pattern, _postgres_character, ignore_case=True)}$"


def _emit_like(pattern: str, emit: _Character, *, ignore_case: bool) -> str:
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        else:
            literal = next(characters, "\\") if character == "\\" else character
            parts.append(_emit_ranges(_literal(ord(literal), ignore_case=ignore_case), emit))
    return "".join(parts)


@lru_cache(maxsize=1024)
def _problem(pattern: str) -> str | None:
    try:
        tree = parse(pattern)
    except PatternError as error:
        return str(error)
    return "its repetitions could match one text in too many ways" if is_catastrophic(tree) else None


def _emit_pattern(pattern: Pattern, character: _Character, start: str, end: str) -> str:
    def branches(alternatives: tuple[tuple[Piece, ...], ...]) -> str:
        return "|".join("".join(piece(item) for item in branch) for branch in alternatives)

    def piece(item: Piece) -> str:
        match item.atom:
            case Start():
                return start
            case End():
                return end
            case Ranges():
                ranges = folded(item.atom) if pattern.ignore_case else item.atom
                return _emit_ranges(ranges, character) + item.quantifier
            case _:
                return f"(?:{branches(item.atom.branches)}){item.quantifier}"

    return branches(pattern.branches)


def _emit_ranges(ranges: Ranges, character: _Character) -> str:
    if ranges == ANY:
        return "."
    if not ranges.negated and len(ranges.pairs) == 1 and ranges.pairs[0][0] == ranges.pairs[0][1]:
        return character(ranges.pairs[0][0])
    inner = "".join(character(low) if low == high else f"{character(low)}-{character(high)}" for low, high in ranges.pairs)
    return f"[{'^' if ranges.negated else ''}{inner}]"


def _literal(code: int, *, ignore_case: bool) -> Ranges:
    ranges = Ranges(((code, code),))
    return folded(ranges) if ignore_case else ranges


def _is_bare(code: int) -> bool:
    return code > 0x7F or chr(code).isalnum() or chr(code) in " _"


def _postgres_character(code: int) -> str:
    if _is_bare(code):
        return chr(code)
    return f"\\u{code:04x}"


def _re2_character(code: int) -> str:
    return chr(code) if _is_bare(code) else f"\\x{{{code:x}}}"
