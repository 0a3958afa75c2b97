"""Raw configuration as layers: each value under its path with the source that it came from; a later layer wins."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from portico.errors import ConfigurationError
from portico.settings.groups import Group
from portico.settings.schema import Node, Path, find, is_secret, nearest
from portico.settings.secrets import FileText

FILE_SUFFIX = "_file"


@dataclass(frozen=True, slots=True)
class Leaf:
    """One configured value and where it was written: `file portico.yaml`, `env DB_HOST`, `default (development)`."""

    value: object
    source: str


Layer = dict[Path, Leaf]


def flatten(tree: object, root: type[Group], source: str, folder: FilePath, under: Path = ()) -> Layer:
    """A tree of settings as a layer. A key `<secret>_file` names a file, relative to `folder`, that holds the secret.

    Raises ConfigurationError for an unknown key, a value where a group belongs, or a file that cannot be read.
    """
    node = find(root, under)
    if node is None:
        raise unknown_key(root, under, source)
    if node.model is None:
        return {under: Leaf(tree, source)}
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise ConfigurationError(f"{source}: {dotted(under) or 'the file'} must be a mapping of settings.")
    layer: Layer = {}
    for key, value in tree.items():
        if not isinstance(key, str):
            raise ConfigurationError(f"{source}: {dotted((*under, str(key)))}: the name of a setting is a text; put it in quotes.")
        found = _flatten_key(node, key, value, root, source, folder, under)
        twice = layer.keys() & found.keys()
        if twice:
            raise ConfigurationError(f"{source}: {dotted(min(twice))} is given twice, once as a file; keep one.")
        layer.update(found)
    return layer


def unknown_key(root: type[Group], path: Path, source: str) -> ConfigurationError:
    """The error for a setting that does not exist, with the nearest one that does."""
    near = nearest(root, path)
    hint = f"Did you mean {dotted(near)}?" if near else "The reference of the configuration lists every setting."
    return ConfigurationError(f"{source}: unknown setting {dotted(path)}.", hint=hint)


def merge(layers: Iterable[Layer]) -> Layer:
    """The layers over one another: a later value replaces an earlier one at the same path."""
    merged: Layer = {}
    for layer in layers:
        merged.update(layer)
    return merged


def unflatten(layer: Layer) -> dict[str, object]:
    """The layer as the tree that the models validate."""
    tree: dict[str, object] = {}
    for path, leaf in layer.items():
        branch: dict[str, object] = tree
        for key in path[:-1]:
            deeper = branch.setdefault(key, {})
            assert isinstance(deeper, dict)
            branch = deeper
        branch[path[-1]] = leaf.value
    return tree


def dotted(path: Path) -> str:
    """The path as people write it."""
    return ".".join(path)


def _flatten_key(node: Node, key: str, value: object, root: type[Group], source: str, folder: FilePath, under: Path) -> Layer:
    path = (*under, key)
    if node.child(key) is None and key.endswith(FILE_SUFFIX):
        named = (*under, key.removesuffix(FILE_SUFFIX))
        target = find(root, named)
        if target is not None and is_secret(target):
            if not isinstance(value, str):
                raise ConfigurationError(f"{source}: {dotted(path)} must be the path of a file.")
            return {named: Leaf(FileText.read(folder / value, dotted(path)), f"{source} ({key})")}
    return flatten(value, root, source, folder, path)
