"""Reads the documentation: its pages, their fenced blocks, the answers that they show, their links and headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
README = REPOSITORY / "README.md"
ARROW = "# → "
"""Begins the answer of the command above it; further lines of the answer begin with `#   `."""

_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_CONTINUED = "#   "


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language, its text, and the line where it begins."""

    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is: the name in its first line, written as a comment (`# portico.yaml`, `-- shop.sql`)."""
        first = self.text.partition("\n")[0]
        found = re.fullmatch(r"(?:#|--) ([\w./-]+\.(?:yaml|sql))", first.strip())
        return found[1] if found is not None and self.language != "bash" else None


@dataclass(frozen=True, slots=True)
class Step:
    """Commands that run together, and what the page says that the last of them answers (None: nothing is said)."""

    commands: str
    answer: str | None
    line: int


def pages() -> list[Path]:
    """The README and every page of docs/, the generated ones too."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(match[1], match[2], text.count("\n", 0, match.start()) + 2) for match in _FENCE.finditer(text)]


def steps(block: Block) -> Iterator[Step]:
    """The commands of a block with their answers, in order."""
    commands: list[str] = []
    answer: list[str] | None = None
    start = block.line
    for number, line in enumerate(block.text.splitlines(), start=block.line):
        if line.startswith(ARROW):
            answer = [line.removeprefix(ARROW)]
        elif answer is not None and line.startswith(_CONTINUED):
            answer.append(line.removeprefix(_CONTINUED))
        else:
            if answer is not None:
                yield Step("\n".join(commands), "\n".join(answer), start)
                commands, answer, start = [], None, number
            commands.append(line)
    if any(line.strip() for line in commands):
        yield Step("\n".join(commands), "\n".join(answer) if answer is not None else None, start)


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """The targets of a page's links."""
    return _LINK.findall(prose(page))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    titles = _HEADING.findall(prose(page))
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}
