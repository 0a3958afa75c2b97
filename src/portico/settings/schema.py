"""What may stand where in the configuration: walks the models of the groups by path, and names what is near an unknown key."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Union, get_args, get_origin

from portico.settings.groups import Group
from portico.settings.secrets import Secret

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A place in the configuration: a group (`model`), a map from names to groups (`model`, `named`), or a single value."""

    annotation: object
    model: type[Group] | None = None
    named: bool = False

    def child(self, key: str) -> "Node | None":
        """The place under `key`; None where there is no such setting."""
        if self.model is None:
            return None
        if self.named:
            return Node(self.model, self.model)
        field = self.model.model_fields.get(key)
        return None if field is None else node_of(field.annotation)

    def settings(self) -> tuple[str, ...]:
        """The settings that may stand here."""
        return tuple(self.model.model_fields) if self.model is not None and not self.named else ()


def node_of(annotation: object) -> Node:
    """The node that a field's annotation makes."""
    inner = _without_none(annotation)
    if isinstance(inner, type) and get_origin(inner) is None and issubclass(inner, Group):
        return Node(inner, inner)
    if get_origin(inner) is dict:
        value = get_args(inner)[1]
        if isinstance(value, type) and get_origin(value) is None and issubclass(value, Group):
            return Node(inner, value, named=True)
    return Node(inner)


def find(root: type[Group], path: Path) -> Node | None:
    """The node at `path`, None where there is no such setting."""
    node: Node | None = Node(root, root)
    for key in path:
        if node is None:
            return None
        node = node.child(key)
    return node


def is_secret(node: Node) -> bool:
    """Whether the value there is a secret."""
    return node.annotation is Secret


def is_list(node: Node) -> bool:
    """Whether the value there is a list."""
    return get_origin(node.annotation) is tuple


def is_list_of_text(node: Node) -> bool:
    """Whether the value there is a list of texts."""
    return is_list(node) and get_args(node.annotation)[0] is str


def all_keys(root: type[Group]) -> Iterator[Path]:
    """Every path of a setting, with `*` for the names that a user chooses."""
    yield from _keys(Node(root, root), ())


def nearest(root: type[Group], path: Path) -> Path | None:
    """The known setting whose name is nearest to the unknown `path`; None when nothing is near."""
    parent = find(root, path[:-1])
    if parent is None:
        return nearest(root, path[:-1])
    keys = difflib.get_close_matches(path[-1], parent.settings(), n=1, cutoff=0.6)
    if keys:
        return (*path[:-1], keys[0])
    elsewhere = {key[-1]: key for key in all_keys(root) if "*" not in key}
    keys = difflib.get_close_matches(path[-1], elsewhere, n=1, cutoff=0.8)
    return elsewhere[keys[0]] if keys else None


def _keys(node: Node, path: Path) -> Iterator[Path]:
    if node.named and node.model is not None:
        yield from _keys(Node(node.model, node.model), (*path, "*"))
        return
    for key in node.settings():
        child = node.child(key)
        if child is not None:
            yield (*path, key)
            if child.model is not None:
                yield from _keys(child, (*path, key))


def _without_none(annotation: object) -> object:
    if get_origin(annotation) is Annotated:
        return _without_none(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        kept = [argument for argument in get_args(annotation) if argument is not NoneType]
        return _without_none(kept[0]) if len(kept) == 1 else annotation
    return annotation
