"""Values of related documents, as the SQL engines write them: each is found in a sub-select that is limited to the scope."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, cast

import sqlalchemy as sa

from portico.engines.sql.predicates import Columns, Expression
from portico.query.bound import Embedded, Target

ONE: Expression = sa.literal_column("1")


class Found(Protocol):
    """The documents that are related to one outer row."""

    @property
    def columns(self) -> Columns:
        """Their columns."""
        ...

    def select(self, *values: Any) -> sa.Select[Any]:
        """Values of them."""
        ...


class Values(Protocol):
    """How an engine writes the value of a target of the row itself."""

    def comparable(self, target: Target, columns: Columns) -> Expression:
        """As it is compared and sorted."""
        ...

    def output(self, target: Target, columns: Columns) -> Expression:
        """As the JSON answer shows it."""
        ...


class Reaching:
    """A grammar whose targets may lie in related documents. It stands before the engine's own grammar among the bases."""

    def found(self, embedded: Embedded, columns: Columns) -> Found:
        """The documents that are related to a row of `columns`."""
        raise NotImplementedError

    def document(self, embedded: Embedded, columns: Columns) -> Expression:
        """What is answered of the related documents, as one JSON value that can be compared."""
        raise NotImplementedError

    def comparable(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as it is compared and sorted."""
        return self.reached(target, columns, cast("Values", super()).comparable)

    def output(self, target: Target, columns: Columns) -> Expression:
        """The value of `target` as the JSON answer shows it."""
        return self.reached(target, columns, cast("Values", super()).output)

    def reached(self, target: Target, columns: Columns, value: Callable[[Target, Columns], Expression]) -> Expression:
        """The value of `target`, which `value` writes for the row that its relations lead to; NULL where there is none."""
        if target.within:
            found = self.found(target.within[0], columns)
            inner = self.reached(replace(target, within=target.within[1:]), found.columns, value)
            return cast("Expression", found.select(inner).limit(ONE).scalar_subquery())
        return value(target, columns) if target.shows is None else self.document(target.shows, columns)
