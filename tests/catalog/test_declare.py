"""Schema documents: what is read, what is refused, and that reading and writing agree."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from portico.builtin.declarations import builtin_collections
from portico.catalog.catalog import same_content
from portico.catalog.declare import declare, declare_all
from portico.catalog.describe import describe
from portico.errors import ConfigurationError
from portico.model.collection import IndexField
from portico.model.field import Base, Default, Reference

INVOICES: dict[str, object] = {
    "name": "invoices",
    "database": "main",
    "fields": [
        {"name": "id", "type": "uuid", "required": True, "default_value": "uuid7", "constraints": ["primary_key"]},
        {"name": "client_id", "type": "string(255)", "required": True, "constraints": ["references:clients.id:cascade"]},
        {"name": "total", "type": "decimal(12,2)", "required": True, "constraints": ["min:0"]},
        {"name": "status", "type": "string(50)", "default_value": "draft", "constraints": ["in:draft,sent,paid"]},
        {"name": "code", "type": "string(10)", "constraints": ["unique", "min_length:2", "max_length:8", "pattern:^[a-z:]+$"]},
        {"name": "due", "type": "datetime", "constraints": ["min:2020-01-01T00:00:00"]},
        {"name": "tags", "type": "string[]"},
        {"name": "payload", "type": "json", "default_value": {"a": [1]}},
    ],
    "indexes": [{"name": "idx_invoices_client", "fields": ["client_id", "-created_at"], "unique": False, "kind": "btree"}],
    "relations": [{"name": "lines", "collection": "invoice_lines", "local": "id", "foreign": "invoice_id"}],
    "partitioning": {"strategy": "hash", "key": "client_id", "partitions": 8},
    "security": {"access_control": "tenant", "tenant_field": "client_id", "hidden": ["payload"], "read_only": ["code"], "encrypted": []},
    "timestamps": True,
    "audit": True,
    "versioned": False,
    "search": {"fields": ["status", "payload"], "language": "english", "weights": {"status": 2}},
    "cache": {"ttl_seconds": 60},
}


def changed(**keys: object) -> dict[str, object]:
    return INVOICES | keys


def with_field(**keys: object) -> dict[str, object]:
    return changed(fields=[{"name": "id", "type": "uuid", "constraints": ["primary_key"]}, {"name": "extra", "type": "text"} | keys])


def test_a_document_declares_all_that_it_says():
    invoices = declare(INVOICES, source="portico.yaml")
    assert invoices.primary_key == ("id",)
    assert invoices.by_name["total"].constraints.minimum == Decimal(0)
    assert invoices.by_name["due"].constraints.minimum == datetime(2020, 1, 1, tzinfo=UTC)
    assert invoices.by_name["code"].constraints.pattern == "^[a-z:]+$"
    assert invoices.by_name["status"].constraints.choices == ("draft", "sent", "paid")
    assert invoices.by_name["client_id"].references == Reference("clients", "id", "cascade")
    assert invoices.by_name["id"].default == Default("uuid7")
    assert invoices.indexes[0].fields == (IndexField("client_id"), IndexField("created_at", descending=True))
    assert invoices.partitioning is not None
    assert dict(invoices.partitioning.options) == {"partitions": 8}
    assert invoices.cache_ttl_seconds == 60


def test_timestamps_add_their_fields_once():
    declared = {"name": "created_at", "type": "datetime"}
    with_own = changed(fields=[{"name": "id", "type": "uuid", "constraints": ["primary_key"]}, declared])
    assert [field.name for field in declare(with_own, source="t").fields] == ["id", "created_at", "updated_at"]


@pytest.mark.parametrize("collection", builtin_collections("main"), ids=lambda collection: collection.name)
def test_what_is_described_declares_the_same_built_in_collection(collection):
    again = declare(describe(collection), source="described")
    assert describe(again) == describe(collection)
    assert again.fields == collection.fields
    assert again.security == collection.security


def test_what_is_described_declares_the_same_collection():
    invoices = declare(INVOICES, source="t")
    assert same_content(declare(describe(invoices), source="t"), invoices)


@pytest.mark.parametrize(
    ("document", "named", "hint"),
    [
        (changed(timestamp=True), "timestamp", "timestamps"),
        (with_field(requird=True), "requird", "required"),
        (with_field(constraints=["mim:3"]), "mim", "min"),
        (changed(security={"tenant_feild": "x"}), "tenant_feild", "tenant_field"),
        (changed(partitioning={"strategy": "hash", "key": "id", "partition": 3}), "partition", "partitions"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(document, named, hint):
    with pytest.raises(ConfigurationError) as raised:
        declare(document, source="portico.yaml")
    assert repr(named) in raised.value.message
    assert "portico.yaml" in raised.value.message
    assert hint in str(raised.value.hint)


@pytest.mark.parametrize("name", ["transaction", "schema", "audit", "jobs", "sessions", "in valid", "", "1st", "a.b.c"])
def test_names_that_paths_use_or_that_are_malformed_are_refused(name):
    with pytest.raises(ConfigurationError):
        declare(changed(name=name), source="t")


@pytest.mark.parametrize(
    "document",
    [
        with_field(type="strng"),
        with_field(type="integer", default_value="3"),
        with_field(type="enum(a,b)", default_value="c"),
        with_field(type="integer", constraints=["min:x"]),
        with_field(constraints=["unique:yes"]),
        with_field(constraints=["references:clients"]),
        with_field(constraints=["references:clients.id:explode"]),
        with_field(constraints=["min_length:-1"]),
        with_field(required="yes"),
        with_field(name="id"),
        changed(security={"access_control": "tenant"}),
        changed(security={"access_control": "nobody"}),
        changed(fields={"id": "uuid"}),
        changed(indexes=[{"name": "i"}]),
        changed(relations=[{"name": "lines", "collection": "l", "local": ["a", "b"], "foreign": "c"}]),
        changed(cache={"ttl_seconds": 0}),
    ],
)
def test_what_is_malformed_is_refused(document):
    with pytest.raises(ConfigurationError):
        declare(document, source="t")


def test_the_access_control_follows_from_the_field_that_is_given():
    fields = [{"name": "id", "type": "uuid", "constraints": ["primary_key"]}]
    assert declare({"name": "a", "fields": fields, "security": {"owner_field": "id"}}, source="t").security.access_control == "owner"
    assert declare({"name": "a", "fields": fields}, source="t").security.access_control == "undeclared"


def test_a_configuration_names_databases_that_exist_and_no_collection_twice():
    assert declare_all([("t", {"name": "a"})], ["main", "other"])[0].database == "main"
    with pytest.raises(ConfigurationError):
        declare_all([("t", {"name": "a", "database": "mian"})], ["main"])
    with pytest.raises(ConfigurationError):
        declare_all([("t", {"name": "a"}), ("u", {"name": "a"})], ["main"])


def test_a_native_type_of_a_discovered_field_is_read_back():
    document = with_field(type="native(interval)")
    assert declare(document, source="t").by_name["extra"].type.base is Base.NATIVE
