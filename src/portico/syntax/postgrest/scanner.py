"""Reads the pieces of PostgREST's grammar from a text: names, quoted texts, places inside JSON."""

from __future__ import annotations

import re

from portico.errors import InvalidParameter
from portico.query.ast import Path

_NAME = re.compile(r"[\w$](?:[\w $]++|-(?!>))*")
_QUOTED = re.compile(r'"((?:[^"\\]++|\\.)*+)"', re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_STEP = re.compile(r"(?:[^-:.,>()\"]++|-(?!>))+")
_INDEX = re.compile(r"-?[0-9]{1,9}")


class Scanner:
    """A position in a text; `label` names the parameter in messages."""

    __slots__ = ("label", "position", "text")

    def __init__(self, text: str, label: str) -> None:
        self.text = text
        self.label = label
        self.position = 0

    def at_end(self) -> bool:
        """Whether everything is read."""
        return self.position >= len(self.text)

    def peek(self, expected: str) -> bool:
        """Whether `expected` comes next."""
        return self.text.startswith(expected, self.position)

    def take(self, expected: str) -> bool:
        """Read `expected` if it comes next."""
        if not self.text.startswith(expected, self.position):
            return False
        self.position += len(expected)
        return True

    def expect(self, expected: str) -> None:
        """Read `expected`. Raises InvalidParameter."""
        if not self.take(expected):
            raise self.error(f"{expected!r} is expected")

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Read what `pattern` matches here, if it does."""
        found = pattern.match(self.text, self.position)
        if found is not None:
            self.position = found.end()
        return found

    def quoted(self) -> str | None:
        """A text in double quotes, unescaped, if one comes next. Raises InvalidParameter where its end is missing."""
        if not self.peek('"'):
            return None
        found = self.match(_QUOTED)
        if found is None:
            raise self.error("the closing quote is missing")
        return _ESCAPE.sub(r"\1", found[1])

    def name(self) -> str:
        """A name, plain or quoted. Raises InvalidParameter."""
        quoted = self.quoted()
        found = self.match(_NAME) if quoted is None else None
        name = quoted if quoted is not None else found[0].strip() if found is not None else ""
        if not name:
            raise self.error("a name is expected")
        return name

    def steps(self, name: str) -> Path:
        """The place inside of the JSON field `name` that comes next (``->a->0->>b``), or the field itself. Raises InvalidParameter."""
        steps: list[str | int] = []
        as_text = False
        while self.take("->"):
            if as_text:
                raise self.error("nothing can follow ->>")
            as_text = self.take(">")
            quoted = self.quoted()
            found = self.match(_STEP) if quoted is None else None
            if quoted is None and found is None:
                raise self.error("a key is expected after the arrow")
            step = quoted if quoted is not None else found[0].strip() if found is not None else ""
            steps.append(int(step) if quoted is None and _INDEX.fullmatch(step) else step)
        return Path(name, tuple(steps), as_text)

    def error(self, problem: str) -> InvalidParameter:
        """The error that says what is wrong where."""
        details = {"parameter": self.label[:64], "position": self.position}
        return InvalidParameter(
            f"The parameter {self.label[:64]!r} is malformed at character {self.position + 1}: {problem}.", details=details
        )
