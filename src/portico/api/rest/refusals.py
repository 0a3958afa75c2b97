"""Refusals that only PostgREST's wire has, as branches of the error tree; `errors.py` beside this gives them their codes and statuses."""

from __future__ import annotations

from portico.errors import InvalidParameter, MethodNotAllowed, NotAcceptable, OutOfRange, UnknownField


class InvalidPreference(InvalidParameter):
    """A preference is not understood, and the caller asked for strict handling."""


class UnknownProfile(NotAcceptable):
    """No schema of that name is served to this caller (`Accept-Profile`, `Content-Profile`)."""


class NotExactlyOne(NotAcceptable):
    """One object was asked for, and the result has more, or none; nothing was written."""


class NotOfASet(InvalidParameter):
    """A bound on the rows that a function gives, and it gives no set of them."""


class UnknownColumn(UnknownField):
    """A body, or the parameter `columns`, names what is no field."""


class RangeNotSatisfiable(OutOfRange):
    """The rows that were asked for are not there: a limit below zero, or an offset beyond the end."""


class FilterRequired(InvalidParameter):
    """A change of many documents needs a filter, which says which."""


class KeyRequired(MethodNotAllowed):
    """A `PUT` names one document: each field of its key by `eq`, and nothing else."""


class KeyMismatch(InvalidParameter):
    """The key in a `PUT`'s body is not the one in its address."""
