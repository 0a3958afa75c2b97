"""Every command and snippet of the README, the tutorial and the how-to guides runs, and answers what the page shows."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, README
from tests.docs.runner import Runner

ON_POSTGRESQL = {"deploy-with-postgresql.md", "serve-an-existing-postgresql.md"}
PAGES = [README, *sorted((DOCS / "tutorial").glob("*.md")), *sorted((DOCS / "how-to").glob("*.md"))]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ON_POSTGRESQL], ids=lambda page: page.name)
def test_a_page_does_what_it_says_on_the_embedded_database(page: Path):
    runner = Runner(page)
    try:
        assert runner.run() > 0
    finally:
        runner.close()
