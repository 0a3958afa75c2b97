"""The page on the architecture tells of every package, and of no file that is not there."""

import re

from tests.docs.pages import DOCS, REPOSITORY

PAGE = (DOCS / "explanation/architecture.md").read_text()
SOURCE = REPOSITORY / "src/portico"
FILE = re.compile(r"`([a-z_*]+/[a-z_/*]+\.py)`")


def test_every_package_and_module_of_the_top_is_in_the_table_of_parts():
    named = {name for row in re.findall(r"^\| (`.+?`) \| ", PAGE, re.MULTILINE) for name in re.findall(r"`([a-z_]+)`", row)}
    there = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert there - {"__init__", "__main__"} - named == set()


def test_every_file_that_is_named_is_there():
    named = FILE.findall(PAGE)
    assert named
    assert [name for name in named if not list(SOURCE.glob(name))] == []
