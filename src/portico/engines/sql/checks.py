"""Check constraints as texts: what one says, apart from how a database writes it down."""

from __future__ import annotations

import re
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Dialect
from sqlalchemy.schema import AddConstraint


def check_text(constraint: sa.CheckConstraint, dialect: Dialect) -> str:
    """The statement that adds a check, with its values in it."""
    return str(cast("Any", AddConstraint(constraint)).compile(dialect=dialect)).strip()


def essence(text: str | None) -> str | None:
    """What a constraint says, without what the database adds when it writes it down."""
    if text is None:
        return None
    plain = re.sub(r"^.*?ADD CONSTRAINT \S+ | NOT VALID$", "", text)
    plain = re.sub(r"::[a-z ]+(?:\(\d+\))?(?:\[\])?|[()\"\s]", "", plain)
    # A list of values is written as an array.
    return re.sub(r"=ANYARRAY\[(.*?)\]", r"IN\1", plain)
