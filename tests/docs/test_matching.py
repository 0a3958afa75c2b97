"""The comparison of answers with pages finds what differs, and only that."""

import pytest

from tests.docs.matching import agrees
from tests.docs.pages import Block, steps


@pytest.mark.parametrize(
    ("shown", "answered"),
    [
        ('200 {"a": 1, "b": [1, 2]}', '200\n{"a":1,"b":[1,2]}'),
        ('200 {"a": 1, …}', '200\n{"a":1,"b":2}'),
        ('{"at": "2025-08-20T08:10:48.108442Z"}', '{"at":"2026-11-21T07:10:21.345599Z"}'),
        ('{"correlation_id": "abc-123-def"}', '{"correlation_id":"7c00d5cafa7fc614807b-8"}'),
        ("# main:  as declared", "# main: as\ndeclared"),
        ("portico: broken.yaml: …Did you mean required?", "portico: broken.yaml: fields[1] is wrong.\n  Did you mean required?"),
    ],
)
def test_the_same_answer_agrees_whatever_its_spaces_times_and_ids(shown: str, answered: str):
    assert agrees(shown, answered)


@pytest.mark.parametrize(
    ("shown", "answered"),
    [
        ('200 {"a": 1}', '201\n{"a":1}'),
        ('200 {"a": 1}', '200\n{"a":1,"b":2}'),
        ('{"total": 99.50}', '{"total":99.5}'),
        ('{"text": "a b"}', '{"text":"ab"}'),
        ('{"at": "2025-08-20T08:10:48.108442Z"}', '{"at":"2025-08-20 08:10:48"}'),
        ('{"a": 1, …}', '{"b":2}'),
    ],
)
def test_another_answer_does_not_agree(shown: str, answered: str):
    assert not agrees(shown, answered)


def test_an_answer_belongs_to_the_commands_above_it():
    block = Block("bash", "one\ntwo\n# → 200 {\n#   }\n\nthree\n", 10)
    assert [(step.commands, step.answer) for step in steps(block)] == [("one\ntwo", "200 {\n}"), ("\nthree", None)]
