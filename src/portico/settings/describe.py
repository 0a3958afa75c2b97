"""What is in force, for people and scripts: every setting with its value, secrets masked, and where it came from."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from portico.settings.connection import ConnectionUrl
from portico.settings.groups import Group
from portico.settings.layers import dotted
from portico.settings.root import Settings
from portico.settings.secrets import MASK, Secret

_LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s]*@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting: its dotted key, a value that JSON can carry and that holds no secret, and its source."""

    key: str
    value: object
    source: str


def describe(settings: Settings) -> list[Entry]:
    """Every setting in force, in the order of the reference."""
    return list(_entries(settings, settings, ()))


def masked(value: object) -> object:
    """A configured value as it may be shown."""
    if isinstance(value, Secret):
        return MASK
    if isinstance(value, Group):
        return {name: masked(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {str(key): masked(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(inner) for inner in value]
    if isinstance(value, str):
        return _LOGIN.sub(rf"\g<scheme>{MASK}@", str(value))
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _entries(settings: Settings, group: Group, under: tuple[str, ...]) -> Iterator[Entry]:
    for name in type(group).model_fields:
        value: object = getattr(group, name)
        path = (*under, name)
        if isinstance(value, Group):
            yield from _entries(settings, value, path)
        elif isinstance(value, dict) and all(isinstance(inner, Group) for inner in value.values()):
            for key, inner in value.items():
                yield from _entries(settings, inner, (*path, str(key)))
        elif isinstance(value, Secret) and name.endswith("connection_string"):
            yield Entry(dotted(path), ConnectionUrl.parse(value.current()).masked(), settings.source(path))
        else:
            yield Entry(dotted(path), masked(value), settings.source(path))
