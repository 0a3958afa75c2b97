"""Values of create and update bodies must meet their field's type and constraints."""

from __future__ import annotations

from decimal import Decimal

import pytest

from portico.errors import ConfigurationError, ConstraintViolated, InvalidRequest, InvalidValue, MissingValue, OutOfRange, WrongType
from portico.model.field import Constraints
from portico.query.constraints import write_coercer
from tests.query.samples import field


@pytest.mark.parametrize(
    ("kind", "constraints", "raw", "value"),
    [
        ("decimal(4,2)", Constraints(minimum="0", maximum="50"), Decimal("12.34"), Decimal("12.34")),
        ("decimal(4,2)", Constraints(), Decimal("12.3400"), Decimal("12.34")),
        ("decimal(4,2)", Constraints(), Decimal("0.00000"), Decimal(0)),
        ("decimal(4,2)", Constraints(), 99, Decimal(99)),
        ("integer", Constraints(minimum=1, maximum=3), 3, 3),
        ("string(3)", Constraints(), "äöü", "äöü"),
        ("string(50)", Constraints(choices=("draft", "sent")), "sent", "sent"),
        ("integer", Constraints(choices=("1", "2")), 2, 2),
        ("text", Constraints(pattern="^[a-z]+$"), "abc", "abc"),
        ("text", Constraints(min_length=1, max_length=2), "ab", "ab"),
        ("integer[]", Constraints(minimum=0, max_length=2), [1, 2], [1, 2]),
        ("json", Constraints(), {"$any": 1}, '{"$any":1}'),
    ],
)
def test_a_value_within_the_constraints_is_written(kind, constraints, raw, value):
    assert write_coercer(field("f", kind, constraints=constraints))(raw) == value


@pytest.mark.parametrize(
    ("kind", "constraints", "raw", "error"),
    [
        ("decimal(4,2)", Constraints(), Decimal("1.234"), OutOfRange),
        ("decimal(4,2)", Constraints(), 100, OutOfRange),
        ("decimal(4,2)", Constraints(), Decimal("1e30"), OutOfRange),
        ("decimal(4,2)", Constraints(minimum="0"), -1, ConstraintViolated),
        ("integer", Constraints(maximum=3), 4, ConstraintViolated),
        ("date", Constraints(minimum="2020-01-01"), "2019-12-31", ConstraintViolated),
        ("string(3)", Constraints(), "abcd", ConstraintViolated),
        ("string(3)[]", Constraints(), ["abcd"], ConstraintViolated),
        ("string(50)", Constraints(choices=("draft",)), "paid", ConstraintViolated),
        ("enum(a,b)", Constraints(), "c", ConstraintViolated),
        ("text", Constraints(pattern="^[a-z]+$"), "ab\n", ConstraintViolated),
        ("text", Constraints(min_length=1), "", ConstraintViolated),
        ("text[]", Constraints(max_length=1), ["a", "b"], ConstraintViolated),
        ("integer[]", Constraints(minimum=0), [1, -1], ConstraintViolated),
        ("integer[]", Constraints(), [1] * 1_001, OutOfRange),
        ("text", Constraints(), "a\x00", InvalidValue),
        ("json", Constraints(), {"a": "\x00"}, InvalidValue),
        ("integer", Constraints(), "2", WrongType),
        ("integer", Constraints(), {"a": 1}, WrongType),
        ("text", Constraints(), {"$gt": ""}, InvalidRequest),
    ],
)
def test_a_value_that_breaks_a_constraint_is_refused(kind, constraints, raw, error):
    with pytest.raises(error) as caught:
        write_coercer(field("the_field", kind, constraints=constraints))(raw)
    assert "the_field" in caught.value.message or kind == "json"


def test_null_is_written_where_it_may_be_and_missing_elsewhere():
    assert write_coercer(field("f", "integer"))(None) is None
    with pytest.raises(MissingValue):
        write_coercer(field("f", "integer", nullable=False))(None)


@pytest.mark.parametrize(
    ("kind", "constraints"),
    [("integer", Constraints(minimum="x")), ("boolean", Constraints(minimum="true")), ("text", Constraints(pattern="(?=a)"))],
)
def test_a_constraint_that_does_not_fit_its_field_is_an_error_of_configuration(kind, constraints):
    with pytest.raises(ConfigurationError):
        write_coercer(field("f", kind, constraints=constraints))
