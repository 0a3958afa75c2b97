"""Refusals that only PostgREST's wire has, as branches of the error tree; `errors.py` beside this gives them their codes and statuses."""

from __future__ import annotations

from portico.errors import InvalidParameter, NotAcceptable, NotFound, OutOfRange


class InvalidPreference(InvalidParameter):
    """A preference is not understood, and the caller asked for strict handling."""


class UnknownProfile(NotAcceptable):
    """No schema of that name is served to this caller (`Accept-Profile`, `Content-Profile`)."""


class NotExactlyOne(NotAcceptable):
    """One object was asked for, and the result has more, or none; nothing was written."""


class RangeNotSatisfiable(OutOfRange):
    """The rows that were asked for are not there: a limit below zero, or an offset beyond the end."""


class FunctionNotFound(NotFound):
    """No function of that name and those arguments is served to this caller."""
