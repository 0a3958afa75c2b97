"""Each file in changes/ is a fragment of the release notes."""

import re

from tests.docs.pages import REPOSITORY

CHANGES = REPOSITORY / "changes"


def test_every_fragment_has_a_name_a_kind_and_a_sentence():
    fragments = [file for file in CHANGES.iterdir() if file.name != "README.md"]
    assert [file.name for file in fragments if not re.fullmatch(r"\+[a-z0-9-]+\.(added|changed|fixed|removed)\.md", file.name)] == []
    assert [file.name for file in fragments if not re.fullmatch(r"[A-Z`].*\.\n", file.read_text(encoding="utf-8"), re.DOTALL)] == []
