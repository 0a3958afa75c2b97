"""Finds what `portico doctor` reports: one function for each kind of thing that can be wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from portico.catalog.catalog import Catalog, LiveCatalog, Served
from portico.catalog.check import TENANT_TYPES
from portico.catalog.names import RESERVED
from portico.cli.auditing import audit_answers
from portico.engines.base import Engine
from portico.engines.postgres.engine import PostgresEngine
from portico.engines.postgres.introspect import Guards
from portico.errors import PorticoError
from portico.events import discard
from portico.model.collection import Collection
from portico.model.field import Base
from portico.query.capabilities import Capability
from portico.settings import Settings, set_in_vain, unsafe_reasons
from portico.wiring import declared_collections, lacks_file, open_engine

_INIT = "Run `portico init-db`."


class Severity(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that Portico will not do: about what, why, and what to do about it. `unreachable`: a database did not answer."""

    severity: Severity
    subject: str
    text: str
    remedy: str | None = None
    unreachable: bool = False


async def diagnose(settings: Settings, *, security: bool) -> list[Finding]:
    """Everything that is found. Raises ConfigurationError where the declarations cannot be read."""
    findings = [Finding(Severity.ERROR, "settings", reason) for reason in unsafe_reasons(settings)]
    findings += [Finding(Severity.NOTE, f"setting {key}", "it has no effect yet.") for key in set_in_vain(settings)]
    engines: list[Engine] = []
    for name, database in settings.databases.items():
        if database.type == "redis":
            continue
        if lacks_file(database):
            findings.append(Finding(Severity.WARNING, f"database {name}", "its file does not exist yet.", _INIT))
            continue
        engine = open_engine(settings, name, secret=b"doctor", emit=discard)
        try:
            await engine.start()
        except PorticoError as error:
            findings.append(Finding(Severity.ERROR, f"database {name}", error.message, error.hint, unreachable=True))
            await engine.close()
            continue
        engines.append(engine)
    try:
        findings += await _of_databases(settings, engines)
    finally:
        for engine in engines:
            await engine.close()
    if security:
        findings += [Finding(Severity.NOTE, subject, text) for subject, text in audit_answers(settings)]
    return findings


async def _of_databases(settings: Settings, engines: Sequence[Engine]) -> list[Finding]:
    served = [Served(engine, settings.databases[engine.name].discover, engine.kind == "mongodb") for engine in engines]
    present = {engine.name for engine in engines}
    declared = [item for item in declared_collections(settings) if item.database in present]
    catalog = await LiveCatalog(declared, served, emit=discard).reload(seen=0)
    findings = [Finding(Severity.ERROR, "declarations", problem) for problem in catalog.problems]
    findings += _missing(catalog, declared)
    for engine in engines:
        findings += _companions(engine)
        if isinstance(engine, PostgresEngine):
            strict = settings.environment.strict
            reasons = await engine.unsafe_reasons()
            findings += [Finding(Severity.ERROR if strict else Severity.WARNING, f"database {engine.name}", reason) for reason in reasons]
            findings += _unguarded(catalog, engine.name, await engine.guards())
    for collection in catalog.collections.values():
        findings += _of_collection(collection)
    return findings


def _missing(catalog: Catalog, declared: Sequence[Collection]) -> Iterator[Finding]:
    builtin = {item.name for item in declared if item.origin == "builtin"}
    absent = [name for name in catalog.missing if name in builtin]
    if absent:
        yield Finding(Severity.NOTE, "built-in collections", f"not there, so not served: {', '.join(absent)}.", _INIT)
    for name in catalog.missing:
        if name not in builtin:
            yield Finding(Severity.ERROR, f"collection {name}", "it is declared, and has no table.", f"{_INIT} Or write a migration.")


def _companions(engine: Engine) -> Iterator[Finding]:
    needed = (Capability.AUDIT, Capability.IDEMPOTENCY, Capability.VERSIONS, Capability.CHANGE_FEED)
    lacking = [capability.value for capability in needed if capability not in engine.capabilities]
    if lacking:
        text = f"these answer 501, because Portico's companion tables are missing or the engine lacks them: {', '.join(lacking)}."
        yield Finding(Severity.NOTE, f"database {engine.name}", text, _INIT if Capability.AUDIT not in engine.capabilities else None)


def _of_collection(collection: Collection) -> Iterator[Finding]:
    subject = f"collection {collection.name}"
    security = collection.security
    if collection.kind == "view":
        yield Finding(Severity.NOTE, subject, "it is a view: readable only, and it pages by offset.")
    elif not collection.primary_key:
        yield Finding(
            Severity.WARNING, subject, "it has no primary key: readable only, and it pages by offset.", "Give the table a primary key."
        )
    if security.access_control == "undeclared":
        yield Finding(
            Severity.WARNING, subject, "nobody declared whose documents these are: only services with the scope * reach it.",
            "Declare security.access_control: tenant, owner, relation or shared.",
        )  # fmt: skip
    if security.encrypted:
        text = f"declared encrypted, but stored as they are: {', '.join(sorted(security.encrypted))}. Nothing encrypts them yet."
        yield Finding(Severity.WARNING, subject, text, "Encrypt them before they are written, or encrypt the database's disk.")
    tenant = collection.by_name.get(security.tenant_field or security.owner_field or "")
    if tenant is not None and (tenant.type.base not in TENANT_TYPES or tenant.type.array):
        yield Finding(
            Severity.ERROR, f"{subject}.{tenant.name}", f"the type {tenant.type} cannot tell tenants apart.", "Use uuid, integer or text."
        )
    for field in collection.fields:
        if field.type.base is Base.NATIVE:
            yield Finding(Severity.NOTE, f"{subject}.{field.name}", f"the database's own type {field.type.native} travels as text.")
        if field.generated:
            yield Finding(Severity.NOTE, f"{subject}.{field.name}", "the database computes it: it is not writable.")
    if not collection.insertable_jointly and not collection.read_only:
        text = "creates go one by one: its triggers or its key's default let no statement carry several calls."
        yield Finding(Severity.NOTE, subject, text)


def _unread(subject: str, collection: Collection, guard: Guards) -> Iterator[Finding]:
    if guard.unreadable:
        text = f"the role may not read {', '.join(guard.unreadable)}: these are not served."
        yield Finding(Severity.NOTE, subject, text, "Grant SELECT where services are to read them.")
    if guard.enabled and not guard.policies:
        text = "row-level security is on and no policy lets anybody see a row."
        yield Finding(Severity.WARNING, subject, text, "Write a policy, or switch it off.")
    for name in guard.cascading:
        text = f"the reference {name} has several columns: the database performs its rule, without audit rows."
        yield Finding(Severity.WARNING, subject, text, "Delete what refers to a document before the document.")
    if collection.origin == "discovered" and collection.table in RESERVED:
        yield Finding(Severity.NOTE, subject, f"the API uses the path {collection.table}, so the table is reached under this name.")


def _unguarded(catalog: Catalog, database: str, guards: Sequence[Guards]) -> Iterator[Finding]:
    for guard in guards:
        collection = catalog.by_table.get((database, guard.schema, guard.table))
        if collection is None:
            if not guard.readable:
                text = "the role may not read it, so it is not served."
                yield Finding(Severity.NOTE, f"table {guard.schema}.{guard.table}", text, "Grant SELECT where services are to read it.")
            continue
        subject = f"collection {collection.name}"
        yield from _unread(subject, collection, guard)
        scoped = collection.security.access_control in {"tenant", "owner", "relation"}
        if guard.is_kept:
            yield Finding(Severity.WARNING, subject, "a materialized view keeps its rows apart from the policies of what it reads.")
        elif guard.is_view and not guard.invoker:
            text = "the view runs with its owner's rights, past the policies of what it reads."
            remedy = f"ALTER VIEW {guard.schema}.{guard.table} SET (security_invoker = true)."
            yield Finding(Severity.WARNING, subject, text, remedy)
        elif scoped and not guard.is_view and not (guard.enabled and guard.forced and guard.policies):
            text = "row-level security is off, not forced, or without a policy: only Portico's own predicate keeps tenants apart."
            yield Finding(
                Severity.WARNING, subject, text, "A migration with set_security adds it; for built-in collections `portico init-db`."
            )
        tenant = collection.by_name.get(collection.security.tenant_field or collection.security.owner_field or "")
        if tenant is not None and tenant.column in guard.loose:
            text = "its collation takes different texts for the same, so it cannot tell tenants apart."
            yield Finding(Severity.ERROR, f"{subject}.{tenant.name}", text, 'Use a deterministic collation, such as COLLATE "C".')
        unwritable = [field.name for field in collection.fields if field.column in guard.unwritable]
        if unwritable and not collection.read_only:
            text = f"the role may not write {', '.join(unwritable)}."
            yield Finding(Severity.NOTE, subject, text, "Grant INSERT and UPDATE where services are to write them.")
