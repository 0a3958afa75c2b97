"""The import table refuses what it should: without this, a typing mistake in a row would let everything pass."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from grimp import ImportGraph

from tests.import_rules import ImportTable

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def _broken(importer: str, imported: str) -> list[str]:
    contracts = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    options: dict[str, Any] = next(contract for contract in contracts if contract["type"] == "import_table")
    graph = ImportGraph()
    graph.add_module("portico")
    for module in (importer, imported):
        graph.add_module(module)
    graph.add_import(importer=importer, imported=imported)
    contract = ImportTable(options["name"], session_options={"root_packages": ["portico"]}, contract_options=options)
    return list(contract.check(graph, verbose=False).metadata["broken"])


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("portico.query.bind", "portico.catalog.catalog"),
        ("portico.query.bind", "portico.engines.base"),
        ("portico.engines.postgres.pool", "portico.engines.sqlite.writer"),
        ("portico.engines.mongo.compile", "portico.engines.sql.compile"),
        ("portico.engines.base", "portico.engines.postgres.pool"),
        ("portico.service.documents", "portico.engines.postgres"),
        ("portico.service.documents", "portico.observe.metrics"),
        ("portico.service.documents", "portico.settings"),
        ("portico.api.routes", "portico.store.keys"),
        ("portico.builtin.tables", "portico.settings"),
        ("portico.client.session", "portico.errors"),
        ("portico.model.field", "portico.query.ast"),
        ("portico.unplanned", "portico.errors"),
    ],
)
def test_an_import_outside_the_table_is_refused(importer: str, imported: str) -> None:
    assert _broken(importer, imported)


@pytest.mark.parametrize(
    ("importer", "imported"),
    [
        ("portico.query.bind", "portico.model.field"),
        ("portico.engines.postgres.pool", "portico.engines.sql.compile"),
        ("portico.service.documents", "portico.engines.base"),
        ("portico.builtin.migrations.env", "portico.settings"),
        ("portico.app", "portico.engines.postgres.pool"),
        ("portico.cli.serve", "portico.app"),
    ],
)
def test_an_import_of_the_table_is_accepted(importer: str, imported: str) -> None:
    assert _broken(importer, imported) == []
