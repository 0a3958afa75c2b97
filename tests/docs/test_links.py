"""Links lead somewhere, pages are reached, and the README says first what a newcomer needs first."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, README, REPOSITORY, anchors, blocks, links, pages


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path):
    for target in links(page):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(file), f"{target} has no such heading: {sorted(anchors(file))}"


def test_every_page_is_reached_from_the_index():
    reached = {(DOCS / target.partition("#")[0]).resolve() for target in links(DOCS / "index.md")}
    assert [page for page in pages() if page not in {README, DOCS / "index.md"} and page.resolve() not in reached] == []


def test_the_readme_opens_with_the_two_commands_of_a_fresh_machine():
    first, *others = blocks(README)
    assert [line.partition("#")[0].strip() for line in first.text.splitlines()] == ["make run", "make test"]
    assert [block.language for block in others][:2] == ["bash", "python"]
    assert "curl" in others[0].text
