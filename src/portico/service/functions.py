"""Calls of a database's functions: those that the configuration names, and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import Protocol, cast, runtime_checkable

from portico.catalog.catalog import Catalog
from portico.engines.base import Call, Compiled, Engine
from portico.errors import Conflict, Forbidden, NotFound
from portico.model.collection import Collection, Relation, Security
from portico.model.field import Base
from portico.model.function import Argument, Function, NamedFunction
from portico.model.identity import Identity, Permission
from portico.model.page import Page
from portico.query.bind import bind
from portico.query.bound import Parameter
from portico.query.coerce import json_coercer, text_coercer
from portico.query.grouped import refuse_aggregates
from portico.query.moments import UTC, with_offset
from portico.query.scoped import CallFunction
from portico.service import tenancy
from portico.service.authorize import effective, require
from portico.service.caller import Asked, Caller
from portico.service.plans import Plans

FRESH_SECONDS = 2.0
"""How long what the database said of a function is believed."""


@runtime_checkable
class Calling(Protocol):
    """An engine whose database has functions."""

    async def functions(self, name: str) -> Sequence[Function]:
        """The functions of that name that may be executed, with its schema where that is not the first served one. Raises PorticoError."""
        ...

    async def call_function(self, query: CallFunction, call: Call, check: Callable[[Page], None], *, timeout: float | None = None) -> Page:
        """Call a function in a transaction of its own, committed on return; a value is the page's body. Raises PorticoError.

        Nothing is committed where `check`, which sees the page first, raises.
        """
        ...

    def compile_function(self, query: CallFunction) -> Compiled:
        """Make a call ready to run inside of a transaction of this engine's, whose answer is a `Page`."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """What a function is called with.

    Attributes:
        values: the arguments by name. as_text: they are texts of a query string or a form, else JSON.
        whole: the body as a single argument without a name takes it, by the types that it may have.
    """

    values: Mapping[str, object]
    as_text: bool = False
    whole: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a function is called.

    Attributes:
        read_only: it must change nothing. zone: its time zone.
        check: sees what it gives before that is kept; what it raises undoes the call.
    """

    read_only: bool
    zone: str
    check: Callable[[Function, Page], None]


@dataclass(frozen=True, slots=True)
class Called:
    """What a call gave: `page.body` is a JSON array, or one value or object where the function gives no set."""

    function: Function
    page: Page


class UnknownFunction(NotFound):
    """The caller may call no function of that name with those arguments."""


class AmbiguousFunction(Conflict):
    """Several functions of that name take these arguments."""


class Functions:
    """Calls functions.

    Args:
        named: what the configuration names, by name. engines: by database. catalog: gives the snapshot in force.
        plans: say how related collections are reached.
    """

    def __init__(
        self, named: Mapping[str, NamedFunction], engines: Mapping[str, Engine], catalog: Callable[[], Catalog], plans: Plans
    ) -> None:
        self._named = named
        self._engines = engines
        self._catalog = catalog
        self._plans = plans
        self._known: dict[str, tuple[float, Sequence[Function]]] = {}

    def names(self, identity: Identity) -> list[str]:
        """The functions that the caller may know of."""
        return sorted(
            name
            for name, named in self._named.items()
            if self._matches(identity, name) and isinstance(self._engines[named.database], Calling)
        )

    async def named(self, caller: Caller, name: str) -> Sequence[Function]:
        """The functions of that name. Raises UnknownFunction."""
        found = await self._functions(caller, name)
        if not found:
            raise _unknown(name)
        return found

    async def call(self, caller: Caller, name: str, given: Given, asked: Asked, manner: Manner) -> Called:
        """Call a function, in the caller's transaction or one of its own; `asked` is what is asked of the rows that it gives.

        Raises:
            UnknownFunction: it is not named in the configuration, or takes other arguments. Forbidden: the caller may not.
            Raised: the function refused the call; and what the check raises.
        """
        function, given = _fitting(await self._functions(caller, name), given, name)
        named = self._named[name]
        if function.security_definer and not named.security_definer:
            raise Forbidden("The function runs with its owner's rights, and the configuration does not say that this is meant.")
        self._require(caller.identity, name, Permission.UPDATE if function.writes and not manner.read_only else Permission.READ)
        engine = self._engines[named.database]
        assert isinstance(engine, Calling), "only such an engine has told of functions"
        query, values = self._bound(caller, named, function, given, asked, manner.zone)
        query = replace(query, read_only=manner.read_only or not function.writes)
        call = Call(values, caller.scope, caller.actor)
        seconds = caller.identity.statement_timeout
        if caller.transaction is None:
            return Called(function, await engine.call_function(query, call, partial(manner.check, function), timeout=seconds))
        page = cast("Page", await caller.transaction.run(engine.compile_function(query), call, timeout=seconds))
        manner.check(function, page)
        return Called(function, page)

    async def _functions(self, caller: Caller, name: str) -> Sequence[Function]:
        named = self._named.get(name)
        if named is None or not self._matches(caller.identity, name):
            raise _unknown(name)
        engine = self._engines[named.database]
        if not isinstance(engine, Calling):
            raise _unknown(name)
        seen, found = self._known.get(name, (0.0, ()))
        if time.monotonic() - seen > FRESH_SECONDS:
            found = await engine.functions(name)
            self._known[name] = (time.monotonic(), found)
        return found

    @staticmethod
    def _matches(identity: Identity, name: str) -> frozenset[Permission]:
        """What the caller's rules grant on the function, whose name among collections is ``rpc/name``."""
        return frozenset().union(*(rule.permissions for rule in identity.rules if fnmatchcase(f"rpc/{name}", rule.pattern)))

    def _require(self, identity: Identity, name: str, permission: Permission) -> None:
        if permission not in self._matches(identity, name):
            details = {"permission": permission.value, "function": name}
            raise Forbidden(f"The permission {permission.value} on rpc/{name} is not granted.", details=details)

    def _bound(
        self, caller: Caller, named: NamedFunction, function: Function, given: Given, asked: Asked, zone: str
    ) -> tuple[CallFunction, tuple[object, ...]]:
        table = self._table(named, function)
        result = Collection(
            f"rpc/{named.name}", named.database, function.name, function.columns, (), schema=function.schema, kind="view",
            relations=_relations(table), security=Security(access_control="shared"),
        )  # fmt: skip
        reach = self._plans.reach(caller, named.database)
        query = asked.parse()
        refuse_aggregates(query, result)
        bound = bind(query, result, hidden=_hidden(caller.identity, table), limits=self._plans.limits, resolve=reach)
        embedded = tenancy.embedded_rules(bound.query, caller.scope, self._catalog().get)
        values = list(bound.values(asked.values))
        arguments: list[tuple[str, Parameter]] = []
        for argument in function.arguments:
            if argument.name in given.values:
                raw = given.values[argument.name]
                arguments.append((argument.name, Parameter(len(values), argument.type)))
                local = zone != UTC and argument.type.base is Base.DATETIME
                values.append(_argument(argument, with_offset(raw, zone) if local else raw, as_text=given.as_text))
        return CallFunction(function, tuple(arguments), bound.query, read_only=True, zone=zone, embedded=embedded), tuple(values)

    def _table(self, named: NamedFunction, function: Function) -> Collection | None:
        """The collection whose rows a function gives."""
        return self._catalog().by_table.get((named.database, *function.table)) if function.table is not None else None


def _hidden(identity: Identity, table: Collection | None) -> frozenset[str]:
    """The columns of a table's rows that the caller may not see. Raises CollectionNotFound, Forbidden as a read of the table does."""
    if table is None:
        return frozenset()
    access = effective(identity, table)
    require(access, Permission.READ)
    columns = {field.name: field.column for field in table.fields}
    return frozenset(columns[name] for name in access.hidden if name in columns)


def _relations(table: Collection | None) -> tuple[Relation, ...]:
    """The relations of a table's rows, whose columns are known here by their own names."""
    if table is None:
        return ()
    columns = {field.name: field.column for field in table.fields}
    return tuple(relation for relation in table.relations if all(columns[name] == name for name in relation.local))


def _fitting(functions: Sequence[Function], given: Given, name: str) -> tuple[Function, Given]:
    """The one function that takes exactly these arguments, else the one that takes the whole body; with what it is given."""
    names = given.values.keys()
    fitting = [
        (function, given)
        for function in functions
        if not function.takes_whole
        and names <= {item.name for item in function.arguments}
        and {item.name for item in function.arguments if not item.optional} <= names
    ]
    if not fitting:
        fitting = [
            (function, Given({"": given.whole[function.arguments[0].declared]}))
            for function in functions
            if function.takes_whole and function.arguments[0].declared in given.whole
        ]
    if not fitting:
        raise _unknown(name, given.values)
    if len(fitting) > 1:
        raise AmbiguousFunction(f"Several functions {name} take these arguments.", hint="Name more of the arguments.")
    return fitting[0]


def _argument(argument: Argument, raw: object, *, as_text: bool) -> object:
    """A value of a call as its type. Texts that were given one by one are a variadic argument's."""
    if raw is None:
        return None
    if not as_text:
        return json_coercer(argument.type, argument.name)(raw)
    if isinstance(raw, list):
        element = text_coercer(argument.type.element, argument.name)
        return [element(item) for item in raw]
    return text_coercer(argument.type, argument.name)(raw)


def _unknown(name: str, given: Mapping[str, object] | None = None) -> UnknownFunction:
    taken = f"({', '.join(sorted(given))[:300]})" if given else ""
    return UnknownFunction(
        f"There is no function {name[:100]}{taken} that may be called.",
        hint="Functions are called where the configuration names them, with arguments by their names.",
    )


__all__ = ["AmbiguousFunction", "Called", "Functions", "UnknownFunction"]
