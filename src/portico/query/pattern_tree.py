"""Reads a pattern into a tree: branches of pieces, each an atom with how often it repeats."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_CHARACTERS = 1_000
MAX_REPETITIONS = 100
MAX_EXPANDED = 2_000
"""Atoms of a pattern written out without counts: nested counts multiply."""
MAX_GROUPS_DEEP = 20

_COUNT = re.compile(r"\{([0-9]{1,3})(?:(,)([0-9]{1,3})?)?\}")


class PatternError(ValueError):
    """What is wrong with a pattern, as the end of a sentence."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """One character out of (or, negated, outside of) inclusive ranges of code points."""

    pairs: tuple[tuple[int, int], ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Start:
    """The start of the text."""


@dataclass(frozen=True, slots=True)
class End:
    """The end of the text."""


@dataclass(frozen=True, slots=True)
class Group:
    """Alternatives in parentheses."""

    branches: tuple[tuple[Piece, ...], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """An atom, from `low` to `high` times (None: without end); `quantifier` is how that is written."""

    atom: Ranges | Start | End | Group
    low: int = 1
    high: int | None = 1
    quantifier: str = ""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A whole pattern."""

    branches: tuple[tuple[Piece, ...], ...]
    ignore_case: bool


ANY = Ranges((), negated=True)
_CLASSES = {
    "d": ((0x30, 0x39),),
    "w": ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)),
    "s": ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20)),
}
_SIMPLE = {"*": (0, None), "+": (1, None), "?": (0, 1)}


def parse(text: str) -> Pattern:
    """The tree of a pattern. Raises PatternError."""
    if len(text) > MAX_CHARACTERS:
        raise PatternError(f"it is longer than {MAX_CHARACTERS} characters")
    if "\x00" in text:
        raise PatternError("it has the character U+0000")
    ignore_case = text.startswith("(?i)")
    reader = _Reader(text, 4 if ignore_case else 0)
    branches = reader.branches(0)
    if reader.position < len(text):
        raise PatternError("a parenthesis is closed that was not opened")
    if _expanded(branches) > MAX_EXPANDED:
        raise PatternError("its counts multiply to too large a pattern")
    return Pattern(branches, ignore_case)


def _expanded(branches: tuple[tuple[Piece, ...], ...]) -> int:
    total = 0
    for branch in branches:
        for piece in branch:
            size = _expanded(piece.atom.branches) if isinstance(piece.atom, Group) else 1
            total += (size + 1) * max(piece.low, piece.high or 1, 1)
    return total


class _Reader:
    __slots__ = ("position", "text")

    def __init__(self, text: str, position: int) -> None:
        self.text = text
        self.position = position

    def branches(self, depth: int) -> tuple[tuple[Piece, ...], ...]:
        if depth > MAX_GROUPS_DEEP:
            raise PatternError(f"its groups nest deeper than {MAX_GROUPS_DEEP}")
        found: list[tuple[Piece, ...]] = []
        pieces: list[Piece] = []
        while self.position < len(self.text) and self.text[self.position] != ")":
            if self.text[self.position] == "|":
                self.position += 1
                found.append(tuple(pieces))
                pieces = []
            else:
                pieces.append(self._piece(depth))
        return (*found, tuple(pieces))

    def _piece(self, depth: int) -> Piece:
        atom = self._atom(depth)
        character = self.text[self.position : self.position + 1]
        if not character or character not in "*+?{":
            return Piece(atom)
        if isinstance(atom, Start | End):
            raise PatternError("an end of the text cannot be repeated")
        low, high, written = self._quantifier(character)
        if self.text[self.position : self.position + 1] in {"*", "+", "?", "{"}:
            raise PatternError("a repetition is repeated")
        return Piece(atom, low, high, written)

    def _quantifier(self, character: str) -> tuple[int, int | None, str]:
        if character in _SIMPLE:
            self.position += 1
            return *_SIMPLE[character], character
        count = _COUNT.match(self.text, self.position)
        if count is None:
            raise PatternError("a brace is no count; a literal one needs a backslash")
        self.position = count.end()
        low = int(count[1])
        high = low if count[2] is None else int(count[3]) if count[3] is not None else None
        if max(low, high or 0) > MAX_REPETITIONS or (high is not None and high < low):
            raise PatternError(f"a count is larger than {MAX_REPETITIONS}, or falls")
        return low, high, count[0]

    def _atom(self, depth: int) -> Ranges | Start | End | Group:
        character = self.text[self.position]
        self.position += 1
        match character:
            case "^":
                return Start()
            case "$":
                return End()
            case ".":
                return ANY
            case "(":
                return self._group(depth)
            case "[":
                return self._bracket()
            case "\\":
                escaped = self._escaped()
                return Ranges(_CLASSES[escaped[1]] if escaped[0] else ((ord(escaped[1]), ord(escaped[1])),))
            case "*" | "+" | "?" | "{":
                raise PatternError("there is nothing to repeat before a repetition")
            case _:
                return Ranges(((ord(character), ord(character)),))

    def _group(self, depth: int) -> Group:
        if self.text[self.position : self.position + 1] == "?":
            raise PatternError("a group begins with (?; only (?i) is known, at the start of the pattern")
        branches = self.branches(depth + 1)
        if self.position >= len(self.text):
            raise PatternError("a parenthesis is not closed")
        self.position += 1
        return Group(branches)

    def _escaped(self) -> tuple[bool, str]:
        """What follows a backslash: whether it is a class, and its letter or the literal character."""
        character = self.text[self.position : self.position + 1]
        self.position += 1
        if character in _CLASSES:
            return True, character
        if not character or character.isalnum() or character.isspace() or not character.isascii():
            raise PatternError("a backslash stands before what is neither d, w, s nor punctuation")
        return False, character

    def _bracket(self) -> Ranges:
        negated = self.text[self.position : self.position + 1] == "^"
        self.position += negated
        pairs: list[tuple[int, int]] = []
        while True:
            if self.position >= len(self.text):
                raise PatternError("a bracket is not closed")
            if self.text[self.position] == "]":
                self.position += 1
                break
            pairs.extend(self._bracket_member())
        if not pairs:
            raise PatternError("a bracket is empty; a literal ] needs a backslash")
        return Ranges(tuple(pairs), negated)

    def _bracket_member(self) -> tuple[tuple[int, int], ...]:
        low = self._bracket_character()
        if isinstance(low, tuple):
            return low
        following = self.text[self.position : self.position + 2]
        if len(following) < 2 or following[0] != "-" or following[1] == "]":
            return ((low, low),)
        self.position += 1
        high = self._bracket_character()
        if isinstance(high, tuple) or high < low:
            raise PatternError("a range in brackets falls, or ends in a class")
        return ((low, high),)

    def _bracket_character(self) -> int | tuple[tuple[int, int], ...]:
        character = self.text[self.position]
        self.position += 1
        if character == "[" and self.text[self.position : self.position + 1] in {":", ".", "="}:
            raise PatternError("named classes in brackets are not known")
        if character != "\\":
            return ord(character)
        is_class, escaped = self._escaped()
        return _CLASSES[escaped] if is_class else ord(escaped)
