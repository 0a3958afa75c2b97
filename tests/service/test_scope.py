"""Whose documents a call touches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.errors import ForeignTenant, InvalidParameter, RequestError
from portico.model.identity import Identity, Subject
from portico.model.scope import EVERYTHING, Scope
from portico.service.scope import choose_scope


def caller(clients: set[str] | None, subject: Subject | None = None) -> Identity:
    return Identity("billing", "key", (), None if clients is None else frozenset(clients), subject=subject)


EVERY, TWO, ONE = caller(None), caller({"b", "a"}), caller({"a"})


def test_a_key_of_every_client_that_names_none_reaches_everything() -> None:
    assert choose_scope(EVERY) == EVERYTHING


def test_a_key_of_some_clients_that_names_none_reaches_all_of_its_clients() -> None:
    assert choose_scope(TWO) == Scope(clients=("a", "b"))


@pytest.mark.parametrize("identity", [EVERY, TWO, ONE])
def test_a_named_client_is_the_only_one(identity: Identity) -> None:
    assert choose_scope(identity, path_client="a") == Scope(clients=("a",))
    assert choose_scope(identity, header_client="a") == Scope(clients=("a",))
    assert choose_scope(identity, path_client="a", header_client="a", header_user="u") == Scope(clients=("a",), users=("u",))


def test_a_client_that_the_service_may_not_act_for_is_foreign() -> None:
    with pytest.raises(ForeignTenant):
        choose_scope(TWO, path_client="c")


def test_path_and_header_that_disagree_are_refused() -> None:
    with pytest.raises(InvalidParameter):
        choose_scope(TWO, path_client="a", header_client="b")


@pytest.mark.parametrize("client", ["", "*", "a,b", "a b", "ä", "a\n", "a" * 256, "a/b", "{a}"])
def test_a_malformed_client_is_refused_wherever_it_stands(client: str) -> None:
    with pytest.raises(InvalidParameter):
        choose_scope(EVERY, path_client=client)
    with pytest.raises(InvalidParameter):
        choose_scope(EVERY, header_client=client)


@pytest.mark.parametrize("user", ["", " ", "a b", "ü", "a\x00", "a" * 256])
def test_a_malformed_user_is_refused(user: str) -> None:
    with pytest.raises(InvalidParameter):
        choose_scope(ONE, header_user=user)


def test_a_user_is_not_named_without_a_client_by_a_key_of_every_client() -> None:
    with pytest.raises(InvalidParameter):
        choose_scope(EVERY, header_user="u")


def test_a_key_of_one_client_need_not_name_it_for_a_user() -> None:
    assert choose_scope(ONE, header_user="u") == Scope(clients=("a",), users=("u",))


def test_a_token_decides_client_and_user() -> None:
    token = caller(None, Subject("a", "u"))
    assert choose_scope(token) == choose_scope(token, path_client="a", header_user="u") == Scope(clients=("a",), users=("u",))


@pytest.mark.parametrize("asked", [{"path_client": "b"}, {"header_client": "b"}, {"header_user": "v"}])
def test_a_token_cannot_be_used_for_another_client_or_user(asked: dict[str, str]) -> None:
    with pytest.raises(ForeignTenant):
        choose_scope(caller(None, Subject("a", "u")), **asked)


def test_a_token_never_reaches_everything() -> None:
    assert choose_scope(caller(None, Subject())) == Scope()


def test_a_token_of_a_user_without_client_reaches_nothing() -> None:
    with pytest.raises(ForeignTenant):
        choose_scope(caller(None, Subject(user="u")))


def test_a_tokens_client_must_be_one_of_its_services() -> None:
    with pytest.raises(ForeignTenant):
        choose_scope(caller({"a"}, Subject("c", None)))


ids = st.none() | st.sampled_from(["a", "b", "c"])
names = st.none() | st.sampled_from(["a", "b", "c", "*", "", "a,b"])


@given(st.none() | st.sets(st.sampled_from(["a", "b"])), st.none() | st.builds(Subject, ids, ids), names, names, names)
def test_no_combination_reaches_a_client_that_the_service_or_token_does_not_have(
    allowed: set[str] | None, subject: Subject | None, path: str | None, header: str | None, user: str | None
) -> None:
    try:
        scope = choose_scope(caller(allowed, subject), path_client=path, header_client=header, header_user=user)
    except RequestError:
        return
    if scope.everything:
        assert (allowed, subject, path, header, user) == (None, None, None, None, None)
    if allowed is not None:
        assert set(scope.clients) <= allowed
    if subject is not None and subject.client is not None:
        assert scope.clients == (subject.client,)
    if subject is not None and subject.user is not None:
        assert scope.users == (subject.user,)
    for asked in (path, header):
        assert asked is None or scope.clients == (asked,)
