"""Grants as they are written on the command line: `documents:read,create`, `users:email`, `documents:{"status": "public"}`."""

import json
import re
from collections.abc import Sequence

import typer

from portico.model.identity import Permission, Rule

EVERYTHING = "*"
_CLIENT = re.compile(r"[A-Za-z0-9._:@-]{1,255}")


def parse_rules(
    allow: Sequence[str], hide: Sequence[str] | None = None, read_only: Sequence[str] | None = None, row_filter: Sequence[str] | None = None
) -> tuple[Rule, ...]:
    """The rules that the options mean. A rule that only takes away grants nothing. Raises typer.BadParameter."""
    rules = [Rule(pattern, _permissions(names)) for pattern, names in _pairs(allow, "--allow")]
    rules += [Rule(pattern, frozenset(), hidden=_fields(names, "--hide")) for pattern, names in _pairs(hide, "--hide")]
    rules += [Rule(pattern, frozenset(), read_only=_fields(names, "--read-only")) for pattern, names in _pairs(read_only, "--read-only")]
    rules += [Rule(pattern, frozenset(), row_filter=_filter(text)) for pattern, text in _pairs(row_filter, "--row-filter")]
    return tuple(rules)


def parse_clients(text: str) -> frozenset[str] | None:
    """Client ids with commas between them; None for `*`. Raises typer.BadParameter."""
    if text.strip() == EVERYTHING:
        return None
    ids = frozenset(part.strip() for part in text.split(",") if part.strip())
    wrong = sorted(client for client in ids if not _CLIENT.fullmatch(client))
    if wrong or not ids:
        raise typer.BadParameter(
            "a client id has 1 to 255 letters, digits and . _ : @ -; '*' alone is every client", param_hint="--clients"
        )
    return ids


def _pairs(texts: Sequence[str] | None, option: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts or ():
        pattern, separator, rest = text.partition(":")
        if not separator or not pattern.strip() or not rest.strip():
            raise typer.BadParameter(f"{text!r} lacks a part: write collections:…", param_hint=option)
        pairs.append((pattern.strip(), rest.strip()))
    return pairs


def _permissions(names: str) -> frozenset[Permission]:
    if names == EVERYTHING:
        return frozenset(Permission)
    known = {permission.value for permission in Permission}
    given = {name.strip() for name in names.split(",") if name.strip()}
    if unknown := sorted(given - known):
        raise typer.BadParameter(f"there is no permission {unknown[0]!r}: {', '.join(Permission)}, or * for all", param_hint="--allow")
    return frozenset(Permission(name) for name in given)


def _fields(names: str, option: str) -> frozenset[str]:
    fields = frozenset(name.strip() for name in names.split(",") if name.strip())
    if not fields:
        raise typer.BadParameter("name at least one field", param_hint=option)
    return fields


def _filter(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not value:
        raise typer.BadParameter('a filter is a JSON object, such as {"status": "public"}', param_hint="--row-filter")
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
