"""What is served of declared and discovered collections, under which names and with which relations."""

from dataclasses import replace
from typing import cast

import pytest

from portico.catalog.declare import declare
from portico.catalog.merge import Merged, Source, merge
from portico.errors import AmbiguousRelation, ConfigurationError
from portico.model.collection import Collection, Index, IndexField, Relation
from portico.model.field import Base, Constraints, Default, Field, FieldType, Reference
from portico.query.names import Names

UUID, TEXT, BIGINT = FieldType(Base.UUID), FieldType(Base.TEXT), FieldType(Base.BIGINT)


def table(schema: str | None, name: str, *fields: Field, key: tuple[str, ...] = ("id",), database: str = "main") -> Collection:
    """A table as reflection gives it: single-column references are foreign keys too."""
    own = f"{schema}.{name}" if schema else name
    keys = tuple(
        Relation(f"{name}_{field.name}_fkey", field.references.collection, (field.name,), (field.references.field,), many=False,
                 constraint=f"{name}_{field.name}_fkey", on_delete=field.references.on_delete)
        for field in fields if field.references
    )  # fmt: skip
    return Collection(
        own, database, name, (Field("id", BIGINT, nullable=False), *fields), key, schema=schema, origin="discovered", relations=keys
    )


def to(name: str, target: str, **options: object) -> Field:
    return Field(name, BIGINT, references=Reference(target, "id"), **options)  # type: ignore[arg-type]


def served(*tables: Collection, declared: tuple[Collection, ...] = (), schemas: tuple[str, ...] = ("public", "shop")) -> Merged:
    return merge(declared, [Source("main", schemas, tables)], strict=True)


def names(merged: Merged) -> list[str]:
    return [collection.name for collection in merged.collections]


def find(merged: Merged, name: str) -> Collection:
    return next(collection for collection in merged.collections if collection.name == name)


def relations(merged: Merged, name: str) -> dict[str, Relation]:
    return {relation.name: relation for relation in find(merged, name).relations}


def test_the_first_schema_has_plain_names_and_others_are_qualified():
    assert names(served(table("public", "orders"), table("shop", "orders"))) == ["orders", "shop.orders"]


def test_a_table_whose_name_a_path_uses_is_reached_qualified():
    assert names(served(table("public", "jobs"))) == ["public.jobs"]


def test_a_built_in_collection_wins_over_a_discovered_table_of_its_name():
    clients = replace(declare({"name": "clients", "fields": []}, source="t", database="main"), schema="app", origin="builtin")
    merged = served(table("public", "clients"), table("app", "clients"), declared=(clients,))
    assert names(merged) == ["clients", "public.clients"]
    assert find(merged, "clients").schema == "app"


def test_a_built_in_collection_that_is_not_there_leaves_its_name_free():
    clients = replace(declare({"name": "clients", "fields": []}, source="t", database="main"), schema="app", origin="builtin")
    merged = served(table("public", "clients"), declared=(clients,))
    assert names(merged) == ["clients"]
    assert find(merged, "clients").schema == "public"
    assert merged.missing == ("clients",)


def test_without_discovery_only_what_is_declared_is_served():
    orders = declare({"name": "orders", "fields": []}, source="t", database="main")
    assert names(served(table("app", "orders"), table("app", "others"), declared=(orders,), schemas=())) == ["orders"]


def test_discovered_tables_have_undeclared_tenancy():
    assert find(served(table("public", "orders")), "orders").security.access_control == "undeclared"


def test_a_declaration_says_what_the_database_cannot_and_keeps_the_other_columns():
    document = {
        "name": "orders",
        "database": "main",
        "fields": [{"name": "data", "type": "json", "column": "payload"}, {"name": "status", "type": "string(10)", "required": True}],
        "security": {"tenant_field": "client_id", "hidden": ["secret"]},
    }
    found = table("public", "orders", Field("payload", TEXT), Field("status", TEXT), Field("client_id", UUID), Field("secret", TEXT))
    orders = find(served(found, declared=(declare(document, source="t"),)), "orders")
    assert [field.name for field in orders.fields] == ["data", "status", "id", "client_id", "secret"]
    assert (orders.by_name["data"].type.base, orders.by_name["data"].type.native) == (Base.JSON, "text")
    assert not orders.by_name["status"].nullable
    assert orders.primary_key == ("id",)
    assert orders.security.tenant_field == "client_id"


@pytest.mark.parametrize(("declared", "column"), [("integer", TEXT), ("decimal(8,2)", TEXT), ("string(20)", BIGINT)])
def test_a_field_is_what_its_column_is_where_one_says_text_and_the_other_number(declared, column):
    field = {"name": "number", "type": declared, "default_value": 7 if declared != "string(20)" else "7", "constraints": ["in:7,8"]}
    document = {"name": "orders", "database": "main", "fields": [field]}
    found = table("public", "orders", Field("number", column, default=Default("database", "'7'")))
    number = find(served(found, declared=(declare(document, source="t"),)), "orders").by_name["number"]
    assert (number.type, number.default, number.constraints) == (column, Default("database", "'7'"), Constraints())


def test_a_declared_field_that_the_table_lacks_is_refused_at_start_and_left_out_later():
    document = {"name": "orders", "database": "main", "fields": [{"name": "gone", "type": "text"}, {"name": "lost", "type": "text"}]}
    declared = (declare(document, source="t"),)
    sources = [Source("main", ("public",), (table("public", "orders"),))]
    with pytest.raises(ConfigurationError, match="gone, lost"):
        merge(declared, sources, strict=True)
    merged = merge(declared, sources, strict=False)
    assert [field.name for field in find(merged, "orders").fields] == ["id"]
    assert merged.problems


def test_a_key_that_the_database_makes_keeps_its_expression_under_a_declaration():
    document = {"name": "orders", "database": "main", "fields": [{"name": "id", "type": "bigint", "default_value": "database"}]}
    found = table("public", "orders")
    found = replace(found, fields=(replace(found.fields[0], default=Default("database", "nextval('s')")),))
    orders = find(served(found, declared=(declare(document, source="t"),)), "orders")
    assert orders.by_name["id"].default == Default("database", "nextval('s')")


def test_foreign_keys_are_relations_both_ways():
    merged = served(table("public", "users"), table("public", "posts", to("author_id", "public.users")))
    author = relations(merged, "posts")["author"]
    assert (author.collection, author.local, author.foreign, author.many) == ("users", ("author_id",), ("id",), False)
    posts = relations(merged, "users")["posts"]
    assert (posts.collection, posts.local, posts.foreign, posts.many, posts.on_delete) == (
        "posts",
        ("id",),
        ("author_id",),
        True,
        "restrict",
    )


def test_a_field_without_id_in_its_name_leads_to_the_other_collection_by_its_name():
    merged = served(table("public", "users"), table("public", "posts", to("author", "public.users")))
    assert set(relations(merged, "posts")) == {"users"}


def test_a_unique_reference_has_one_document_on_the_other_side():
    profile = to("user_id", "public.users", constraints=Constraints(unique=True))
    assert not relations(served(table("public", "users"), table("public", "profiles", profile)), "users")["profiles"].many


def test_ambiguous_relations_have_their_constraints_names():
    posts = table("public", "posts", to("author_id", "public.users"), to("editor_id", "public.users"))
    merged = served(table("public", "users"), posts)
    assert set(relations(merged, "posts")) == {"author", "editor"}
    assert set(relations(merged, "users")) == {"posts_author_id_fkey", "posts_editor_id_fkey"}


def test_a_relation_never_hides_a_field():
    merged = served(table("public", "users", Field("posts", TEXT)), table("public", "posts", to("author_id", "public.users")))
    assert set(relations(merged, "users")) == {"posts_author_id_fkey"}


def test_a_collection_may_refer_to_itself():
    merged = served(table("public", "nodes", to("parent_id", "public.nodes")))
    found = relations(merged, "nodes")
    assert (found["parent"].many, found["nodes"].many) == (False, True)


def test_a_join_collection_gives_a_relation_through_it():
    join = table("public", "tagged", to("post_id", "public.posts"), to("tag_id", "public.tags"), key=("post_id", "tag_id"))
    merged = served(table("public", "posts"), table("public", "tags"), join)
    assert relations(merged, "posts")["tags"].through == ("tagged", ("post_id",), ("tag_id",))
    assert relations(merged, "tags")["posts"].through == ("tagged", ("tag_id",), ("post_id",))


def test_a_foreign_key_to_a_table_that_is_not_served_is_none():
    merged = served(table("public", "posts", to("author_id", "hidden.users")))
    assert find(merged, "posts").relations == ()
    assert find(merged, "posts").by_name["author_id"].references is None


def test_a_declared_relation_takes_the_place_of_the_one_that_follows_from_the_key():
    document = {
        "name": "users",
        "database": "main",
        "fields": [],
        "relations": [{"name": "articles", "collection": "posts", "local": "id", "foreign": "author_id"}],
    }
    merged = served(
        table("public", "users"), table("public", "posts", to("author_id", "public.users")), declared=(declare(document, source="t"),)
    )
    (articles,) = find(merged, "users").relations
    assert (articles.name, articles.many, articles.on_delete) == ("articles", True, "restrict")


def test_a_parent_may_be_named_by_its_collection():
    document = {"name": "posts", "database": "main", "fields": [], "security": {"relation": "users"}}
    users = declare({"name": "users", "database": "main", "fields": [], "security": {"access_control": "shared"}}, source="t")
    posts = table("public", "posts", to("author_id", "public.users"))
    merged = served(table("public", "users"), posts, declared=(users, declare(document, source="t")))
    assert find(merged, "posts").security.relation == "author"


@pytest.mark.parametrize(
    "security",
    [{"tenant_field": "nowhere"}, {"tenant_field": "at"}, {"owner_field": "id"}, {"relation": "nowhere"}],
    ids=["no such field", "a datetime", "no users", "no such relation"],
)
def test_a_collection_whose_tenancy_cannot_be_followed_is_never_served(security):
    declared = (declare({"name": "orders", "database": "main", "fields": [], "security": security}, source="t"),)
    sources = [Source("main", ("public",), (table("public", "orders", Field("at", FieldType(Base.DATETIME))),))]
    with pytest.raises(ConfigurationError):
        merge(declared, sources, strict=True)
    assert names(merge(declared, sources, strict=False)) == []


def test_a_second_database_qualifies_the_names_that_the_first_has():
    first = Source("main", ("public",), (table("public", "orders"),))
    second = Source("other", ("main",), (table(None, "orders", database="other"), table(None, "bills", database="other")))
    assert names(merge((), [first, second], strict=True)) == ["orders", "other.orders", "bills"]


def test_composite_foreign_keys_keep_their_columns_and_their_rule():
    orders = replace(table("public", "orders", Field("region", TEXT)), primary_key=("region", "id"))
    key = Relation(
        "lines_fkey", "public.orders", ("region", "order_id"), ("region", "id"), many=False, constraint="lines_fkey", on_delete="cascade"
    )
    lines = replace(table("public", "lines", Field("region", TEXT), Field("order_id", BIGINT)), relations=(key,))
    back = relations(served(orders, lines), "orders")["lines"]
    assert (back.local, back.foreign, back.on_delete) == (("region", "id"), ("region", "order_id"), "cascade")


def test_a_unique_index_over_several_columns_makes_a_composite_reference_single():
    orders = replace(table("public", "orders", Field("region", TEXT)), primary_key=("region", "id"))
    key = Relation("bill_fkey", "public.orders", ("region", "order_id"), ("region", "id"), many=False, constraint="bill_fkey")
    unique = Index("u", (IndexField("order_id"), IndexField("region")), unique=True)
    bills = replace(table("public", "bills", Field("region", TEXT), Field("order_id", BIGINT)), relations=(key,), indexes=(unique,))
    assert not relations(served(orders, bills), "orders")["bills"].many


def test_a_partitioned_table_keeps_its_declared_key():
    document = {
        "name": "readings",
        "database": "main",
        "fields": [{"name": "id", "type": "bigint", "constraints": ["primary_key"]}, {"name": "client_id", "type": "text"}],
        "partitioning": {"strategy": "hash", "key": "client_id"},
    }
    found = replace(table("public", "readings", Field("client_id", TEXT, nullable=False)), primary_key=("id", "client_id"))
    assert find(served(found, declared=(declare(document, source="t"),)), "readings").primary_key == ("id",)


def test_two_joins_to_one_collection_give_relations_that_each_say_which_join_they_are_by():
    joins = [table("public", name, to("post_id", "public.posts"), to("tag_id", "public.tags"), key=("post_id", "tag_id"))
             for name in ("tagged", "proposed")]  # fmt: skip
    posts = find(served(table("public", "posts"), table("public", "tags"), *joins), "posts")
    assert {relation.name: relation.through for relation in posts.relations if relation.through is not None} == {
        "tags_by_tagged": ("tagged", ("post_id",), ("tag_id",)),
        "tags_by_proposed": ("proposed", ("post_id",), ("tag_id",)),
    }
    reached = Names(posts, frozenset())
    for hint, join in (("tagged", "tagged"), ("proposed_tag_id_fkey", "proposed")):
        assert reached.relation("tags", hint, lambda _: True).through == (join, ("post_id",), ("tag_id",))
    with pytest.raises(AmbiguousRelation) as refused:
        reached.relation("tags", None, lambda _: True)
    assert [choice["through"] for choice in cast("list[dict[str, object]]", refused.value.details["choices"])] == ["tagged", "proposed"]


def test_a_collection_that_is_joined_with_itself_is_reached_in_both_directions():
    join = table("public", "follows", to("by_id", "public.users"), to("whom_id", "public.users"), key=("by_id", "whom_id"))
    users = find(served(table("public", "users"), join), "users")
    assert {relation.name: relation.through for relation in users.relations if relation.through is not None} == {
        "users_by_follows_whom_id": ("follows", ("by_id",), ("whom_id",)),
        "users_by_follows_by_id": ("follows", ("whom_id",), ("by_id",)),
    }
    reached = Names(users, frozenset())
    joined = [relation for relation in users.relations if relation.through is not None]
    for hint in ("whom_id", "follows_whom_id_fkey", "users_by_follows_whom_id"):
        assert reached.relation("users", hint, joined.__contains__).name == "users_by_follows_whom_id"
