"""The import-linter contract that holds "Who may import whom": each row of its table is a whitelist.

A whitelist fails closed: a new module of the package belongs to no row and breaks the contract until somebody decides where it stands.
"""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class ImportTable(Contract):
    """Holds rows of the form ``importer another.importer: allowed another.allowed``, with names relative to the root package.

    The row with the longest matching importer counts. A package may always import itself; ``*`` allows everything. The root package
    itself may be imported by all (it holds the version).
    """

    type_name = "import_table"

    root = fields.StringField()
    rows = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Compare every direct import between the root package's modules with the table."""
        root = str(self.root)
        table = _table([str(row) for row in self.rows])  # type: ignore[attr-defined]  # a field holds its value on instances
        broken: list[str] = []
        for module in sorted(graph.find_descendants(root)):
            importer = module.removeprefix(f"{root}.")
            row = _longest(importer, list(table))
            if row is None:
                broken.append(f"{module} is in no row of the table")
                continue
            for target in sorted(graph.find_modules_directly_imported_by(module)):
                imported = target.removeprefix(f"{root}.")
                if target.startswith(f"{root}.") and not _allowed(imported, row, table[row]):
                    broken.append(f"{module} imports {target}")
        return ContractCheck(kept=not broken, metadata={"broken": broken})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Print one line for each import that no row allows."""
        for line in check.metadata["broken"]:
            output.print_error(line, bold=False)


def _table(rows: list[str]) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for row in rows:
        importers, _, allowed = row.partition(":")
        for importer in importers.split():
            table[importer] = allowed.split()
    return table


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _longest(module: str, packages: list[str]) -> str | None:
    return max((package for package in packages if _within(module, package)), key=len, default=None)


def _allowed(imported: str, row: str, allowed: list[str]) -> bool:
    return _within(imported, row) or any(name == "*" or _within(imported, name) for name in allowed)
