"""The reference is complete and as the code is: errors, verbs, operators, types, constraints, routes."""

import json
import re
from pathlib import Path

import pytest

from portico.api.routes import ROUTERS
from portico.builtin.declarations import DOCUMENTS_OF_ALL
from portico.catalog import constraints, declare
from portico.cli.program import VERBS
from portico.model.field import Base
from portico.model.identity import Permission
from portico.query.capabilities import Capability
from portico.query.json_text import read_json
from portico.query.names import _CASTS
from portico.settings import load
from portico.syntax import postgrest
from portico.syntax.mongo import body, expressions, filters, pipeline
from portico.syntax.postgrest.filters import _IS, OPERATORS
from scripts.write_reference import COMMAND, PAGES, REFERENCE, answered
from tests.docs.pages import DOCS, Block, blocks, pages


def page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_what_the_code_writes(name: str):
    assert page(name) == PAGES[name](), f"run: {COMMAND}"


def test_every_error_code_is_listed_once():
    codes = re.findall(r"^\| `(\w+)` \|", page("errors.md"), re.MULTILINE)
    assert sorted(codes) == sorted(kind.code for kind in answered())


def test_every_verb_of_the_command_line_is_listed():
    assert [line.removeprefix("## portico ") for line in page("cli.md").splitlines() if line.startswith("## portico ")] == list(VERBS)


def test_every_operator_and_clause_of_the_query_string_is_described():
    text = page("query-string.md")
    words = [*OPERATORS, *(f"is.{word}" for word in _IS), "not.", *postgrest.CLAUSES]
    assert [word for word in words if f"`{word}" not in text] == []


def test_every_cast_is_described():
    assert [name for name in _CASTS if f"`{name}`" not in page("query-string.md")] == []


def test_every_operator_and_member_of_a_json_query_is_described():
    text = page("json-query.md")
    words = [*filters._FIELD_OPERATORS, *filters._GROUPS, *body._MEMBERS, *body._INCLUDED_MEMBERS]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_every_stage_operator_and_accumulator_of_an_aggregation_is_described():
    text = page("aggregation.md")
    words = [f"${name}" for name in (*pipeline.STAGES, *expressions.OPERATORS, *expressions.ACCUMULATORS, *expressions.FORBIDDEN)]
    assert [word for word in (*words, *expressions.UNITS) if f"`{word}`" not in text] == []


def test_the_example_of_an_aggregation_is_understood():
    example = re.search(r"^    (\{.*?\]\})$", page("aggregation.md"), re.MULTILINE | re.DOTALL)
    assert example is not None
    assert len(pipeline.parse_pipeline(read_json(example[1])).pipeline.stages) == 5


def test_every_type_and_constraint_is_described():
    text = page("fields-and-constraints.md")
    words = [base.value for base in Base if base is not Base.NATIVE] + sorted(constraints._ALONE | constraints._WITH_VALUE)
    assert [word for word in words if f"`{word}" not in text] == []


def test_every_key_of_a_declaration_is_described():
    text = page("fields-and-constraints.md")
    words = declare._COLLECTION | declare._FIELD | declare._INDEX | declare._RELATION | declare._SECURITY
    assert sorted(word for word in words if not re.search(rf"[`{{ ]{word}\b", text)) == []


def test_every_route_of_the_control_plane_is_described():
    text = page("http-api.md")
    paths = {getattr(route, "path", "").replace(":path}", "}") for router in ROUTERS for route in router.routes}
    assert sorted(path for path in paths if f"{path}`" not in text) == []


def test_every_built_in_collection_and_capability_is_described():
    text = page("http-api.md")
    words = [str(document["name"]) for document in DOCUMENTS_OF_ALL] + [capability.value for capability in Capability]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_every_permission_is_described():
    text = (DOCS / "how-to" / "keys-and-permissions.md").read_text(encoding="utf-8")
    assert [permission.value for permission in Permission if f"`{permission.value}`" not in text] == []


def test_every_example_of_a_filter_in_the_query_string_is_understood():
    rows = re.findall(r"^\| `.*\| `([^`|]+=[^`|]+)` \|$", page("query-string.md"), re.MULTILINE)
    assert len(rows) >= 20
    for row in rows:
        name, _, value = row.partition("=")
        assert postgrest.parse([(name, value)]).query.filter is not None, row


def test_the_example_of_a_json_query_is_understood():
    example = re.search(r"^    (\{.*?\})$", page("json-query.md"), re.MULTILINE | re.DOTALL)
    assert example is not None
    assert set(json.loads(example[1])) <= set(body._MEMBERS)
    assert body.parse(read_json(example[1])).query.filter is not None


SNIPPETS = [(page, block) for page in pages() for block in blocks(page) if block.language == "yaml" and block.file is None]


@pytest.mark.parametrize(("path", "block"), SNIPPETS, ids=lambda item: getattr(item, "name", ""))
def test_every_part_of_a_configuration_that_a_page_shows_is_understood(path: Path, block: Block, tmp_path: Path):
    file = tmp_path / "portico.yaml"
    for name in re.findall(r"/run/secrets/(\w+)", block.text):
        (tmp_path / name).write_text("a long password, as long as the secret of a cluster has to be")
    file.write_text(block.text.replace("/run/secrets", str(tmp_path)), encoding="utf-8")
    assert load(file, {}).databases
