"""Reads the parts of a schema document: checks keys and types of plain data, and says where in which document an error is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from portico.catalog.names import nearest
from portico.errors import ConfigurationError


class Reader:
    """One mapping of a schema document, read key by key; `where` names it in errors (``portico.yaml: invoices.fields[2]``).

    Raises ConfigurationError from every method where a value is of the wrong type, and from the constructor for an unknown key.
    """

    def __init__(self, data: object, where: str, known: frozenset[str]) -> None:
        if not isinstance(data, Mapping):
            raise ConfigurationError(f"{where} must be a mapping of keys to values.")
        self._data: dict[str, object] = {str(key): value for key, value in data.items()}
        self.where = where
        for key in self._data:
            if key not in known:
                raise ConfigurationError(f"{where} has the unknown key {key!r}.", hint=nearest(key, known), details={"key": key})

    def __contains__(self, key: str) -> bool:
        return self._data.get(key) is not None

    def raw(self, key: str) -> object:
        """The value as it is, or None."""
        return self._data.get(key)

    def rest(self, known: frozenset[str]) -> dict[str, object]:
        """Every value whose key is in `known`."""
        return {key: value for key, value in self._data.items() if key in known}

    def text(self, key: str) -> str | None:
        """A text, or None where the key is missing."""
        value = self._data.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.error(key, "a text")

    def required_text(self, key: str) -> str:
        """A text that must be there."""
        value = self.text(key)
        if not value:
            raise ConfigurationError(f"{self.where} needs the key {key!r}.", details={"key": key})
        return value

    def flag(self, key: str) -> bool:
        """A boolean, False where the key is missing."""
        value = self._data.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.error(key, "true or false")

    def number(self, key: str) -> float | None:
        """A number above zero, or None where the key is missing."""
        value = self._data.get(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
            return float(value)
        raise self.error(key, "a number above zero")

    def items(self, key: str) -> Sequence[object]:
        """A list, empty where the key is missing."""
        value = self._data.get(key)
        if value is None:
            return ()
        if isinstance(value, list | tuple):
            return value
        raise self.error(key, "a list")

    def names(self, key: str) -> tuple[str, ...]:
        """A list of texts, or one text; empty where the key is missing."""
        value = self._data.get(key)
        found = (value,) if isinstance(value, str) else self.items(key)
        if all(isinstance(item, str) and item for item in found):
            return tuple(str(item) for item in found)
        raise self.error(key, "a list of names")

    def error(self, key: str, expected: str) -> ConfigurationError:
        """The error that says what `key` must be."""
        return ConfigurationError(f"{self.where}: {key} must be {expected}.", details={"key": key})
