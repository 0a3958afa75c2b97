"""Which members of the bodies of one call are written, and what stands for one that a body lacks (PostgREST's `columns` and `missing`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from portico.service.validate import Body, object_body

Missing = Literal["default", "null"]


@dataclass(frozen=True, slots=True)
class Members:
    """What a call says of its bodies' members.

    Attributes:
        columns: the fields that are written; other members are left out. None: those that each body has.
        missing: what a field becomes that is written and that a body lacks. None: null where there are `columns`, else its default.
    """

    columns: tuple[str, ...] | None = None
    missing: Missing | None = None

    def chosen(self, bodies: Sequence[object]) -> Chosen:
        """The bodies with the members that are written. Raises WrongType where one is no object and has to be."""
        if self.columns is None and self.missing != "null":
            return Chosen(bodies, None)
        fields = [object_body(body) for body in bodies]
        names = self.columns if self.columns is not None else tuple(dict.fromkeys(name for body in fields for name in body))
        if self.missing == "default":
            return Chosen([{name: body[name] for name in names if name in body} for body in fields], names)
        return Chosen([{name: body.get(name) for name in names} for body in fields], names)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Bodies that are ready to be written; `names` are the fields that all of them set, None where each sets its own members."""

    bodies: Sequence[object]
    names: tuple[str, ...] | None

    def named(self, body: Body) -> tuple[str, ...]:
        """The members that a body sets, whether it has them or they are filled in."""
        return tuple(body) if self.names is None else self.names


EACH_ITS_OWN = Members()
