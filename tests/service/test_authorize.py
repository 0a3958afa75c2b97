"""What a service's rules allow on a collection."""

from dataclasses import replace

import pytest

from portico.errors import CollectionNotFound, Forbidden
from portico.model.collection import Collection, Security
from portico.model.field import Base, Field, FieldType
from portico.model.identity import Identity, Permission, Rule, Subject
from portico.service.authorize import effective, fingerprint, require

READ, CREATE = Permission.READ, Permission.CREATE


def collection(name: str, security: Security, **others: str) -> Collection:
    key = Field("id", FieldType(Base.UUID))
    return Collection(
        name=name,
        database="main",
        table=others.get("table", name),
        schema=others.get("schema"),
        fields=(key,),
        primary_key=("id",),
        security=security,
    )


TENANT = Security("tenant", tenant_field="client_id", hidden=frozenset({"secret"}), read_only=frozenset({"id"}))
DOCUMENTS = collection("documents", TENANT)


def identity(*rules: Rule, clients: frozenset[str] | None = None) -> Identity:
    return Identity("billing", "key", rules, clients, fingerprint=fingerprint(rules, None))


def test_permissions_are_the_union_of_the_matching_rules() -> None:
    caller = identity(Rule("doc*", frozenset({CREATE})), Rule("*", frozenset({READ})), Rule("users", frozenset({Permission.DELETE})))
    assert effective(caller, DOCUMENTS).permissions == {READ, CREATE}


def test_what_any_matching_rule_takes_away_is_gone() -> None:
    caller = identity(
        Rule("*", frozenset({READ}), row_filter='{"a":1}'),
        Rule("documents", frozenset(), hidden=frozenset({"body"}), read_only=frozenset({"title"}), row_filter='{"b":2}'),
        Rule("users", frozenset(), hidden=frozenset({"email"}), row_filter='{"c":3}'),
    )
    access = effective(caller, DOCUMENTS)
    assert access.hidden == {"secret", "body"}
    assert access.read_only == {"id", "title"}
    assert access.row_filters == ('{"a":1}', '{"b":2}')


def test_a_lacking_permission_is_named_with_the_collection() -> None:
    with pytest.raises(Forbidden, match=r"create.*documents") as failed:
        require(effective(identity(Rule("*", frozenset({READ}))), DOCUMENTS), CREATE)
    assert failed.value.details == {"permission": "create", "collection": "documents"}


def test_a_granted_permission_passes() -> None:
    require(effective(identity(Rule("documents", frozenset({READ}))), DOCUMENTS), READ)


def test_a_declared_collection_without_any_grant_is_forbidden_not_unknown() -> None:
    with pytest.raises(Forbidden):
        require(effective(identity(), DOCUMENTS), READ)


@pytest.mark.parametrize(
    "caller",
    [
        identity(Rule("*", frozenset(Permission)), clients=frozenset({"a"})),
        replace(identity(Rule("*", frozenset(Permission))), subject=Subject()),
    ],
)
def test_an_undeclared_table_does_not_exist_for_a_tenants_key_or_a_token(caller: Identity) -> None:
    access = effective(caller, collection("legacy", Security()))
    assert not access.visible
    with pytest.raises(CollectionNotFound):
        require(access, READ)


def test_an_undeclared_table_is_there_for_a_key_of_every_client() -> None:
    require(effective(identity(Rule("*", frozenset({READ}))), collection("legacy", Security())), READ)


@pytest.mark.parametrize(
    ("schema", "table"),
    [("pg_catalog", "pg_authid"), ("information_schema", "tables"), ("portico", "api_keys"), ("", "sqlite_master"), ("pg_toast", "x")],
)
def test_system_tables_exist_for_nobody(schema: str, table: str) -> None:
    with pytest.raises(CollectionNotFound):
        require(
            effective(identity(Rule("*", frozenset(Permission))), collection(table, Security("shared"), schema=schema, table=table)), READ
        )


def test_a_pattern_is_compared_with_case() -> None:
    assert effective(identity(Rule("Documents", frozenset({READ}))), DOCUMENTS).permissions == frozenset()


def test_callers_with_equal_rules_share_a_fingerprint_whatever_their_order_of_permissions() -> None:
    one = Rule("*", frozenset({READ, CREATE, Permission.DELETE}))
    other = Rule("*", frozenset({Permission.DELETE, CREATE, READ}))
    assert fingerprint((one,), 1.0) == fingerprint((other,), 1.0)
    assert fingerprint((one,), 1.0) != fingerprint((one,), None)
    assert fingerprint((one,), 1.0) != fingerprint((replace(one, row_filter="{}"),), 1.0)


def test_an_identity_with_a_careless_fingerprint_does_not_get_anothers_access() -> None:
    able, unable = (Identity("s", "k", rules, None) for rules in ((Rule("*", frozenset({READ})),), ()))
    assert effective(able, DOCUMENTS).permissions
    assert not effective(unable, DOCUMENTS).permissions


def test_a_key_of_one_client_does_not_get_what_was_remembered_for_a_key_of_all() -> None:
    legacy, rule = collection("legacy", Security()), Rule("*", frozenset({READ}))
    assert effective(identity(rule), legacy).visible
    assert not effective(identity(rule, clients=frozenset({"a"})), legacy).visible
