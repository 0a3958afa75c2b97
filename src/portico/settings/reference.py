"""Writes the reference of the configuration from the models, so that no setting is left out of it."""

from collections.abc import Iterator
from enum import Enum
from typing import get_args

from pydantic_core import PydanticUndefined

from portico.settings.databases import Database, Pool, Replica
from portico.settings.environment import FIXED_NAMES, URLS_BY_TYPE, variable_name
from portico.settings.groups import Function, Group, Issuer
from portico.settings.pending import is_pending
from portico.settings.root import Settings
from portico.settings.schema import Path, is_secret, node_of
from portico.settings.short_form import NAMES

_INTRODUCTION = """\
# Configuration

Settings come from one file, `portico.yaml`, and from the environment, which wins. The file is the one that `--config` or `PORTICO_CONFIG`
names, else `portico.yaml` in the working directory, where there is one. Every part of it is optional. An unknown key is an error that names
it and the nearest known one. `portico config` prints what is in force, with secrets masked, and where each value comes from.

- **Names of variables.** Every setting can be given as a variable: `http.port` is `PORTICO_HTTP__PORT`, two underscores for a dot. Lists
  of texts are written with commas, other lists and groups as JSON. An empty variable counts as unset.
- **Values in files.** Any variable may end in `_FILE` and name a file that holds the value (a Docker or Kubernetes secret). In
  `portico.yaml`, a secret may likewise be given by a key that ends in `_file`, with a path that is relative to `portico.yaml`. Secrets and
  connection strings are read again when their file is replaced: no restart is needed for a new password.
- **Encrypted values.** Any secret may be written `enc:…`, as `portico secrets encrypt` prints it. The master key is in the file that
  `PORTICO_MASTER_KEY_FILE` names; `portico secrets generate-key` makes one. To change it, put a new key before the old one, run
  `portico secrets rotate`, and take the old one out.
- **Safety.** In `staging` and `production`, Portico does not start with a default secret, with a password in a plain variable or in
  `portico.yaml`, or with a connection to another machine that does not insist on TLS. `portico config` says what to change, and exits
  with 1. In `development` it listens on other addresses than loopback only with `auth.required: true`.

This page is written by `python -m portico.settings.reference > docs/reference/configuration.md`.
"""
_SHORT_FORM = """\
## One database

A single database may be written `database:`; it is then `databases.main`:

    database: {url: "postgresql://appuser@db:5432/appdb?sslmode=require", pool_size: 20, max_overflow: 10}
"""


def render() -> str:
    """The page, in Markdown."""
    sections = [_INTRODUCTION, *_settings(), _SHORT_FORM, *_short_form(), "\n## Names taken as they are\n", *_fixed_names()]
    return "\n".join(sections) + "\n"


def _settings() -> Iterator[str]:
    groups: list[tuple[Path, type[Group]]] = []
    yield from _table("General", (), Settings, groups)
    while groups:
        path, model = groups.pop(0)
        yield from _table(".".join(path), path, model, groups)


def _table(title: str, path: Path, model: type[Group], groups: list[tuple[Path, type[Group]]]) -> Iterator[str]:
    yield f"## {title}\n"
    if path:
        yield f"{(model.__doc__ or '').strip()}\n"
    yield "| setting | default | variable | meaning |"
    yield "| --- | --- | --- | --- |"
    inner: list[tuple[Path, type[Group]]] = []
    for name, field in model.model_fields.items():
        node = node_of(field.annotation)
        if node.model is not None:
            inner.append(((*path, name, "NAME") if node.named else (*path, name), node.model))
            continue
        secret = " A secret." if is_secret(node) else ""
        listed = " Their keys are described below." if _item(node.annotation) else ""
        default = _default(field.default)
        vain = " No effect yet." if is_pending(".".join((*path, name))) else ""
        yield f"| `{name}` | {default} | `{variable_name((*path, name))}` | {field.description}{secret}{listed}{vain} |"
    for name, field in model.model_fields.items():
        item = _item(node_of(field.annotation).annotation)
        if item is not None:
            yield f"\n### {'.'.join((*path, name))}[]\n\n{(item.__doc__ or '').strip()}\n"
            yield "| key | default | meaning |\n| --- | --- | --- |"
            yield from (f"| `{key}` | {_default(part.default)} | {part.description} |" for key, part in item.model_fields.items())
    yield ""
    groups[:0] = inner


def _item(annotation: object) -> type[Group] | None:
    arguments = get_args(annotation)
    return arguments[0] if arguments and isinstance(arguments[0], type) and arguments[0] in {Issuer, Replica, Function} else None


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or value == ():
        return "–"
    if isinstance(value, tuple):
        return f"`{', '.join(value)}`"
    text = str(value.value if isinstance(value, Enum) else value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def _short_form() -> Iterator[str]:
    yield "| key | stands for | meaning |"
    yield "| --- | --- | --- |"
    for name, path in NAMES.items():
        model = Pool if path[0] == "pool_settings" else Database
        yield f"| `{name}` | `databases.main.{'.'.join(path)}` | {model.model_fields[path[-1]].description} |"
    yield "\nIt also takes the other settings of a database, such as `echo` and `discover`."


def _fixed_names() -> Iterator[str]:
    yield "| variable | sets |"
    yield "| --- | --- |"
    for name, path in FIXED_NAMES.items():
        yield f"| `{name}` | `{'.'.join(path)}` |"
    for name, kind in URLS_BY_TYPE.items():
        yield f"| `{name}` | the connection string of the only database of type `{kind}`, else of a new one that is named `{kind}` |"
    yield "| `DB_USER`, `DB_HOST`, `DB_PORT`, `DB_NAME` | the parts of `databases.main.connection_string`, where `DATABASE_URL` is unset |"
    yield "| `PORTICO_CONFIG` | the configuration file |"
    yield "\n`REDIS_URL` also makes that database the cache, where `cache.database` names none."


if __name__ == "__main__":
    import sys

    sys.stdout.write(render())
