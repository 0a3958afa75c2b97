"""Settings that nothing reads are all told of, and no others."""

import ast
from pathlib import Path

import portico
from portico.settings import Settings
from portico.settings.groups import Group
from portico.settings.pending import is_pending
from portico.settings.schema import node_of

SOURCE = Path(portico.__file__).parent
# These state, check and describe settings, whether or not anything comes of them.
DESCRIBING = {"groups", "databases", "resolve", "check", "safety", "reference", "describe"}
# What a group is called where it is at hand under a name of its own.
ALSO_CALLED = {"databases": {"database"}, "pool_settings": {"pool"}, "settings": {"self"}}
# Read by properties of the databases, or become `max_connections`.
READ_OTHERWISE = {
    "databases.*.pool_settings.pool_size",
    "databases.*.pool_settings.max_overflow",
    "databases.*.password",
    "databases.*.connection_string",
    "databases.*.migration_connection_string",
    "databases.*.backup_connection_string",
}


def leaves(model: type[Group] = Settings, under: tuple[str, ...] = ()) -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        node = node_of(field.annotation)
        path = (*under, name)
        found += [".".join(path)] if node.model is None else leaves(node.model, (*path, "*") if node.named else path)
    return found


def reads() -> set[tuple[str, str]]:
    """What is read of what, anywhere in the code: `limits.page_max` is ("limits", "page_max")."""
    found = set()
    for path in SOURCE.rglob("*.py"):
        if path.parent.name == "settings" and path.stem in DESCRIBING:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                of = node.value.value if isinstance(node.value, ast.Subscript) else node.value
                if isinstance(of, ast.Attribute | ast.Name):
                    found.add((of.attr if isinstance(of, ast.Attribute) else of.id, node.attr))
    return found


def test_settings_without_effect_are_those_that_are_told_of() -> None:
    read = reads()
    unread = set()
    for key in set(leaves()) - READ_OTHERWISE:
        *groups, leaf = ["settings", *(part for part in key.split(".") if part != "*")]
        if not any((name, leaf) in read for name in {groups[-1], *ALSO_CALLED.get(groups[-1], ())}):
            unread.add(key)
    assert unread == {key for key in leaves() if is_pending(key)}
