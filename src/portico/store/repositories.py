"""What tools do with services and keys, synchronously; every change raises the generation in its transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection, Engine, Row, Select, func, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from portico.errors import ConfigurationError, DatabaseUnavailable, NotFound
from portico.model.identity import Rule
from portico.store.keys import NewKey
from portico.store.records import KeyRecord, ServiceRecord, clients_document, clients_from, rules_document, rules_from
from portico.store.schema import exists
from portico.store.tables import KEYS_GENERATION, api_keys, generations, services


class KeyRepository:
    """Services and API keys. Args: `engine` from `schema.open_store`.

    Every method raises ConfigurationError where the tables are missing, and DatabaseUnavailable where the database is.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create_key(
        self,
        new: NewKey,
        *,
        service: str,
        rules: tuple[Rule, ...],
        clients: frozenset[str] | None,
        expires_at: datetime | None = None,
        label: str = "",
    ) -> KeyRecord:
        """Store a key, and its service where it is new (tokens of a new service may do nothing)."""
        now = datetime.now(UTC)
        with self._changing() as connection:
            _ensure_service(connection, service, now)
            values = {
                "id": new.id, "service": service, "secret_hash": new.secret_hash, "rules": rules_document(rules), "label": label,
                "clients": clients_document(clients), "created_at": now, "expires_at": expires_at,
            }  # fmt: skip
            connection.execute(insert(api_keys).values(values))
            return _key(connection.execute(_keys().where(api_keys.c.id == new.id)).one())

    def list_keys(self, service: str | None = None) -> list[KeyRecord]:
        """All keys, or those of one service, oldest first."""
        query = _keys().order_by(api_keys.c.created_at, api_keys.c.id)
        if service is not None:
            query = query.where(api_keys.c.service == service)
        with self._reading() as connection:
            return [_key(row) for row in connection.execute(query)]

    def revoke_key(self, key_id: str) -> KeyRecord:
        """Revoke a key for good; one that is revoked already keeps its time. Raises NotFound."""
        with self._changing() as connection:
            change = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            connection.execute(change.values(revoked_at=datetime.now(UTC)))
            return _one_key(connection, key_id)

    def update_key(
        self, key_id: str, *, rules: tuple[Rule, ...] | None = None, clients: frozenset[str] | None = None, every_client: bool = False
    ) -> KeyRecord:
        """Replace a key's rules, its clients, or both; `every_client` is scope `*`. Raises NotFound."""
        values: dict[str, object] = {}
        if rules is not None:
            values["rules"] = rules_document(rules)
        if clients is not None or every_client:
            values["clients"] = None if every_client else clients_document(clients)
        with self._changing() as connection:
            if values:
                connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(values))
            return _one_key(connection, key_id)

    def replace_service(self, record: ServiceRecord) -> ServiceRecord:
        """Create a service, or replace what its tokens may do and the limits of all its callers."""
        with self._changing() as connection:
            _ensure_service(connection, record.name, datetime.now(UTC))
            values = {
                "rules": rules_document(record.rules), "clients": clients_document(record.clients),
                "statement_timeout": record.statement_timeout, "rate_limit": record.rate_limit,
            }  # fmt: skip
            connection.execute(update(services).where(services.c.name == record.name).values(values))
        return record

    def get_service(self, name: str) -> ServiceRecord | None:
        """One service, or None."""
        with self._reading() as connection:
            row = connection.execute(select(services).where(services.c.name == name)).one_or_none()
        if row is None:
            return None
        return ServiceRecord(row.name, rules_from(row.rules), clients_from(row.clients), row.statement_timeout, row.rate_limit)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as connection:
                if not exists(connection):
                    message = "The store has no tables yet."
                    raise ConfigurationError(message, hint="Run `portico init-db`.")
                yield connection
        except DBAPIError as error:
            raise _translated(error) from error

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        with self._reading() as connection:
            yield connection
            raised = update(generations).where(generations.c.name == KEYS_GENERATION).values(value=generations.c.value + 1)
            if connection.execute(raised).rowcount == 0:
                connection.execute(insert(generations).values(name=KEYS_GENERATION, value=1))


def _ensure_service(connection: Connection, name: str, now: datetime) -> None:
    known = connection.execute(select(func.count()).select_from(services).where(services.c.name == name)).scalar_one()
    if not known:
        connection.execute(insert(services).values(name=name, rules=[], clients=[], created_at=now))


def _keys() -> Select[tuple[object, ...]]:
    joined = api_keys.join(services, api_keys.c.service == services.c.name)
    return select(api_keys, services.c.statement_timeout, services.c.rate_limit).select_from(joined)


def _one_key(connection: Connection, key_id: str) -> KeyRecord:
    row = connection.execute(_keys().where(api_keys.c.id == key_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no key with the id {key_id}.", hint="`portico key list` shows the ids.")
    return _key(row)


def _key(row: Row[tuple[object, ...]]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        service=row.service,
        secret_hash=bytes(row.secret_hash),
        rules=rules_from(row.rules),
        clients=clients_from(row.clients),
        created_at=row.created_at,
        label=row.label,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        statement_timeout=row.statement_timeout,
        rate_limit=row.rate_limit,
    )


def _translated(error: DBAPIError) -> ConfigurationError | DatabaseUnavailable:
    # The driver's text may hold values and the login, so it is not passed on.
    state = getattr(error.orig, "sqlstate", None)
    if state == "42501":
        message = "The login may not change the store's tables."
        return ConfigurationError(message, hint="Grant it what `portico init-db` grants the application role.")
    if isinstance(error, IntegrityError):
        return DatabaseUnavailable("The store was changed by another command at the same moment.", hint="Run the command again.")
    return DatabaseUnavailable("The store's database cannot be used.", hint="`portico status` says what it finds.")
