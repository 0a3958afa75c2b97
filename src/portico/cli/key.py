"""`portico key`: creates, lists, changes and revokes the API keys of services."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import limits
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from portico.cli.common import ConfigOption, JsonOption, load_settings, print_json
from portico.cli.grants import parse_clients, parse_rules
from portico.settings import Settings
from portico.store.keys import generate
from portico.store.records import KeyRecord, ServiceRecord, clients_document, rules_document
from portico.store.repositories import KeyRepository
from portico.store.schema import open_store

PEPPER_PURPOSE = "api-key-pepper"
_LIFE = re.compile(r"(\d{1,5})([smhdwy])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,254}")

AllowOption = Annotated[
    list[str] | None, typer.Option("--allow", help="`collections:permissions`, such as 'documents:read,create' or '*:read'; repeat it.")
]
HideOption = Annotated[list[str] | None, typer.Option("--hide", help="`collections:fields` that are not seen; repeat it.")]
ReadOnlyOption = Annotated[list[str] | None, typer.Option("--read-only", help="`collections:fields` that are not written; repeat it.")]
RowFilterOption = Annotated[
    list[str] | None,
    typer.Option("--row-filter", help="`collections:filter`: the documents that are reached, as a JSON filter; repeat it."),
]
ServiceOption = Annotated[str, typer.Option("--service", help="Name of the service.")]

key_app = typer.Typer(no_args_is_help=True, help="Create, list, change and revoke the API keys of services.")


def register(app: typer.Typer) -> None:
    """Add the verb to the program."""
    app.add_typer(key_app, name="key")


@key_app.command("create")
def create(
    service: ServiceOption,
    clients: Annotated[str, typer.Option("--clients", help="Ids of the clients it may act for, with commas between; '*' is every client.")],
    allow: AllowOption = None,
    hide: HideOption = None,
    read_only: ReadOnlyOption = None,
    row_filter: RowFilterOption = None,
    expires: Annotated[
        str | None, typer.Option("--expires", help="Life of the key, such as 90d or 12h; without it, until it is revoked.")
    ] = None,
    label: Annotated[str, typer.Option("--label", help="A note for people.")] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a key for a service and print it, this once. A service may have several, each with its own permissions."""
    if not _SERVICE.fullmatch(service):
        raise typer.BadParameter("a name has letters, digits and . _ : @ -", param_hint="--service")
    if not allow:
        raise typer.BadParameter("say what the key may do, such as 'documents:read'", param_hint="--allow")
    rules = parse_rules(allow, hide, read_only, row_filter)
    expires_at = _moment(expires)
    settings = load_settings(config)
    new = generate(settings.derive_key(PEPPER_PURPOSE))
    with _repository(settings) as keys:
        record = keys.create_key(new, service=service, rules=rules, clients=parse_clients(clients), expires_at=expires_at, label=label)
    if as_json:
        print_json({"id": record.id, "key": new.text} | _document(record))
    else:
        typer.echo(f"Key {record.id} of {service}. It is shown only now:", err=True)
        typer.echo(new.text)


@key_app.command("list")
def list_keys(
    service: Annotated[str | None, typer.Option("--service", help="Only this service's.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List keys, oldest first, with what they may do. Their secrets are not kept."""
    with _repository(load_settings(config)) as keys:
        records = keys.list_keys(service)
    if as_json:
        print_json([_document(record) for record in records])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Id", "Service", "State", "Allow", "Clients", "Expires", "Last used", "Label"):
        table.add_column(title, overflow="fold")
    for record in records:
        table.add_row(*(Text(value) for value in _cells(record)))
    console = Console(highlight=False)
    (console if console.is_terminal else Console(highlight=False, width=400)).print(table)


@key_app.command("revoke")
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID")], config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Revoke a key for good; every worker refuses it within two seconds."""
    with _repository(load_settings(config)) as keys:
        record = keys.revoke_key(key_id)
    if as_json:
        print_json(_document(record))
    else:
        typer.echo(f"Key {record.id} of {record.service} is revoked.")


@key_app.command("grant")
def grant(
    key_id: Annotated[str | None, typer.Option("--id", help="The key to change.")] = None,
    service: Annotated[str | None, typer.Option("--service", help="The service whose tokens to grant it to.")] = None,
    allow: AllowOption = None,
    hide: HideOption = None,
    read_only: ReadOnlyOption = None,
    row_filter: RowFilterOption = None,
    clients: Annotated[str | None, typer.Option("--clients", help="Ids of the clients, with commas between; '*' is every client.")] = None,
    statement_timeout: Annotated[float | None, typer.Option(min=0.001, help="Seconds for a statement of this service.")] = None,
    rate_limit: Annotated[str | None, typer.Option(help="Calls of this service, such as 1000/minute.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace what a key, or callers with a token of a service, may do; or set a service's limits. In force within two seconds."""
    if (key_id is None) == (service is None):
        raise typer.BadParameter("name a key with --id, or a service with --service")
    rules = parse_rules(allow or [], hide, read_only, row_filter) if allow or hide or read_only or row_filter else None
    who = parse_clients(clients) if clients is not None else frozenset[str]()
    if key_id is not None:
        if statement_timeout is not None or rate_limit is not None:
            raise typer.BadParameter("limits belong to a service: name it with --service")
        with _repository(load_settings(config)) as keys:
            record = keys.update_key(
                key_id, rules=rules, clients=who if clients is not None else None, every_client=clients is not None and who is None
            )
        _report(f"Key {record.id} of {record.service} is changed.", _document(record), as_json=as_json)
        return
    assert service is not None
    if not _SERVICE.fullmatch(service):
        raise typer.BadParameter("a name has letters, digits and . _ : @ -", param_hint="--service")
    _check_rate(rate_limit)
    with _repository(load_settings(config)) as keys:
        old = keys.get_service(service) or ServiceRecord(service)
        changed = ServiceRecord(
            name=service,
            rules=old.rules if rules is None else rules,
            clients=old.clients if clients is None else who,
            statement_timeout=old.statement_timeout if statement_timeout is None else statement_timeout,
            rate_limit=old.rate_limit if rate_limit is None else rate_limit,
        )
        keys.replace_service(changed)
    _report(f"The service {service} is changed.", _service_document(changed), as_json=as_json)


@contextmanager
def _repository(settings: Settings) -> Iterator[KeyRepository]:
    engine = open_store(settings.store_database.connection.text())
    try:
        yield KeyRepository(engine)
    finally:
        engine.dispose()


def _report(text: str, document: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        typer.echo(text)


def _moment(life: str | None) -> datetime | None:
    if life is None:
        return None
    match = _LIFE.fullmatch(life)
    if match is None or int(match[1]) == 0:
        raise typer.BadParameter("a life is a number and s, m, h, d, w or y, such as 90d", param_hint="--expires")
    try:
        return datetime.now(UTC) + timedelta(seconds=int(match[1]) * _UNITS[match[2]])
    except OverflowError:
        raise typer.BadParameter("that is too long", param_hint="--expires") from None


def _check_rate(rate_limit: str | None) -> None:
    try:
        if rate_limit is not None:
            limits.parse_many(rate_limit)
    except ValueError:
        raise typer.BadParameter("a rate is written 1000/minute", param_hint="--rate-limit") from None


def _state(record: KeyRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    return "expired" if record.expires_at is not None and record.expires_at <= datetime.now(UTC) else "active"


def _document(record: KeyRecord) -> dict[str, object]:
    clients = clients_document(record.clients)
    return {
        "id": record.id,
        "service": record.service,
        "label": record.label,
        "state": _state(record),
        "rules": rules_document(record.rules),
        "clients": "*" if clients is None else clients,
        "created_at": _iso(record.created_at),
        "expires_at": _iso(record.expires_at),
        "revoked_at": _iso(record.revoked_at),
        "last_used_at": _iso(record.last_used_at),
    }


def _service_document(record: ServiceRecord) -> dict[str, object]:
    clients = clients_document(record.clients)
    return {
        "service": record.name,
        "rules": rules_document(record.rules),
        "clients": "*" if clients is None else clients,
        "statement_timeout": record.statement_timeout,
        "rate_limit": record.rate_limit,
    }


def _cells(record: KeyRecord) -> list[str]:
    allow = " ".join(f"{rule.pattern}:{','.join(sorted(rule.permissions))}" for rule in record.rules if rule.permissions)
    clients = "*" if record.clients is None else ",".join(sorted(record.clients))
    times = (_iso(record.expires_at) or "-", _iso(record.last_used_at) or "-")
    return [record.id, record.service, _state(record), allow, clients, *times, record.label]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
