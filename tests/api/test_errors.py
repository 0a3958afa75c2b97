"""The status table: no error of the tree is without a status, and what each status promises besides."""

import json

import pytest

from portico import errors
from portico.api.errors import STATUS, error_body, headers_of, status_of
from portico.api.middleware.faults import translate
from portico.errors import InternalError, MethodNotAllowed, NotSupported, PorticoError, Unavailable, UnknownField
from portico.events import Event, InternalFault

EVERY_ERROR = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PorticoError)]


@pytest.mark.parametrize("kind", EVERY_ERROR, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status_of_its_own(kind: type[PorticoError]) -> None:
    assert kind in STATUS


def test_an_error_made_elsewhere_has_the_status_of_its_parent() -> None:
    class Odd(UnknownField):
        pass

    assert status_of(Odd("?")) == 400


def test_an_error_is_answered_in_the_envelope() -> None:
    error = UnknownField("There is no field colour.", hint="Did you mean color?", details={"field": "colour"})
    assert json.loads(error_body(error, "abc-1")) == {
        "success": False,
        "data": None,
        "message": "There is no field colour.",
        "error": {"code": "unknown_field", "details": {"field": "colour"}, "hint": "Did you mean color?"},
        "correlation_id": "abc-1",
    }


def test_what_an_internal_error_found_is_never_answered() -> None:
    body = error_body(InternalError("SELECT secret FROM t", details={"sql": "SELECT secret"}), "abc-1")
    assert b"SELECT" not in body
    assert json.loads(body)["error"]["code"] == "internal_error"


def test_an_unexpected_exception_is_told_by_class_and_place_alone() -> None:
    told: list[Event] = []
    try:
        raise ValueError("a value of a document")
    except ValueError as error:
        answered = translate(error, "abc-1", told.append)
    fault = told[0]
    assert isinstance(answered, InternalError)
    assert isinstance(fault, InternalFault)
    assert (fault.error_type, fault.correlation_id) == ("ValueError", "abc-1")
    assert "test_errors.py" in fault.where
    assert "document" not in str(fault)


def test_statuses_come_with_the_headers_that_http_asks_for() -> None:
    assert headers_of(errors.Unauthenticated("?"))[0][0] == b"www-authenticate"
    assert headers_of(MethodNotAllowed("?", details={"allow": ["GET", "POST"]})) == ((b"allow", b"GET, POST"),)
    assert headers_of(Unavailable("?", details={"retry_after": 2.2})) == ((b"retry-after", b"3"),)
    assert headers_of(Unavailable("?")) == ((b"retry-after", b"1"),)
    assert headers_of(NotSupported("audit", "sqlite")) == ()


def test_a_lone_surrogate_in_a_message_does_not_break_the_answer() -> None:
    assert json.loads(error_body(UnknownField("There is no field \ud800."), "abc-1"))["success"] is False
