"""The house rules that no linter knows: what the tree must not contain."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TEXTS = {
    ".py",
    ".toml",
    ".lock",
    ".md",
    ".yaml",
    ".yml",
    ".sh",
    ".sql",
    ".html",
    ".js",
    ".css",
    ".ini",
    ".mako",
    ".conf",
    ".cfg",
    ".mod",
    ".go",
    ".txt",
    ".json",
    "",
}
CACHES = {
    ".git",
    ".venv",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    ".import_linter_cache",
    ".hypothesis",
    "__pycache__",
    "node_modules",
}
LEFT_OUT = CACHES | {"results", "build", "dist", "data"}
LONGEST_MODULE = 400
LONGEST_FUNCTION = 50

# Written in pieces, so that this file keeps its own rules.
_ADDRESSES = ["pypi" + r"\.org/simple", "python" + r"hosted\.org", "registry" + r"\.npmjs", "--(extra-)?index" + "-url[ =]"]
REGISTRIES = re.compile("|".join(_ADDRESSES))
UNFINISHED = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X"]) + r")\b")


def _files() -> list[Path]:
    found = [path for path in REPOSITORY.rglob("*") if path.is_file() and path.suffix in TEXTS]
    return [path for path in found if not LEFT_OUT.intersection(path.relative_to(REPOSITORY).parts)]


def _modules(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((REPOSITORY / folder).rglob("*.py"))]


def _name(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def _containing(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for path in _files():
        text = path.read_text(errors="replace")
        found += [f"{_name(path)}:{number}" for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    return found


def test_no_file_names_a_package_registry() -> None:
    assert _containing(REGISTRIES) == []


def test_the_lock_holds_hashes_and_no_address() -> None:
    text = (REPOSITORY / "requirements.lock").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text)
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_nothing_is_left_unfinished() -> None:
    assert _containing(UNFINISHED) == []


@pytest.mark.parametrize("path", _modules("src", "tests", "bench", "scripts"), ids=_name)
def test_a_module_says_what_it_is_in_charge_of(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), f"{_name(path)} has no docstring"


@pytest.mark.parametrize("path", _modules("src"), ids=_name)
def test_a_module_stays_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_MODULE


@pytest.mark.parametrize("path", _modules("src"), ids=_name)
def test_a_function_stays_short_enough_to_be_read(path: Path) -> None:
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [one.name for one in functions if (one.end_lineno or 0) - one.lineno >= LONGEST_FUNCTION] == []


@pytest.mark.parametrize("path", _modules("tests"), ids=_name)
def test_a_test_waits_for_a_condition_and_never_sleeps(path: Path) -> None:
    if path != REPOSITORY / "tests/servers/waiting.py":
        assert _sleeps(ast.parse(path.read_text())) == []


def _sleeps(tree: ast.Module) -> list[str]:
    calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    # `sleep(0)` only lets other tasks run.
    return [call for call in calls if re.match(r"(time\.|asyncio\.|anyio\.)?sleep\((?!0\))", call)]
