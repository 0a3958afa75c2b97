"""The two syntaxes have one meaning: what is said in both is bound to one tree with the same values."""

from __future__ import annotations

import pytest

from tests.query.samples import from_json, from_query_string

SAME = [
    ("", "{}"),
    ("status=eq.draft", '{"filter": {"status": "draft"}}'),
    ("status=eq.draft", '{"filter": {"status": {"$eq": "draft"}}}'),
    ("status=neq.draft", '{"filter": {"status": {"$ne": "draft"}}}'),
    ("number=gt.1&number=lt.5", '{"filter": {"number": {"$gt": 1, "$lt": 5}}}'),
    ("total=gte.1.50&total=lte.2", '{"filter": {"total": {"$gte": 1.50, "$lte": 2}}}'),
    ("status=eq.draft&number=gte.2", '{"filter": {"status": "draft", "number": {"$gte": 2}}}'),
    ("and=(status.eq.draft,number.gte.2)", '{"filter": {"$and": [{"status": "draft"}, {"number": {"$gte": 2}}]}}'),
    (
        "or=(number.lt.1,not.and(status.eq.b,paid.is.null))",
        '{"filter": {"$or": [{"number": {"$lt": 1}}, {"$not": {"status": "b", "paid": null}}]}}',
    ),
    ("not.or=(number.eq.1,number.eq.2)", '{"filter": {"$nor": [{"number": 1}, {"number": 2}]}}'),
    ("not.and=(number.eq.1,paid.eq.true)", '{"filter": {"$not": {"number": 1, "paid": true}}}'),
    ("number=not.eq.5", '{"filter": {"number": {"$not": {"$eq": 5}}}}'),
    ("status=is.null", '{"filter": {"status": null}}'),
    ("status=is.null", '{"filter": {"status": {"$eq": null}}}'),
    ("status=not.is.null", '{"filter": {"status": {"$ne": null}}}'),
    ("status=is.not_null", '{"filter": {"status": {"$exists": true}}}'),
    ("status=is.null", '{"filter": {"status": {"$exists": false}}}'),
    ('status=in.(a,"b,c","d\\"e")', '{"filter": {"status": {"$in": ["a", "b,c", "d\\"e"]}}}'),
    ("number=in.()", '{"filter": {"number": {"$in": []}}}'),
    ("number=not.in.(1,2)", '{"filter": {"number": {"$nin": [1, 2]}}}'),
    ("or=(number.in.(1,2),number.is.null)", '{"filter": {"number": {"$in": [1, null, 2]}}}'),
    ("status=like.a*b", '{"filter": {"status": {"$like": "a%b"}}}'),
    ("status=ilike.*x", '{"filter": {"status": {"$ilike": "%x"}}}'),
    ("status=match.^a%2B$", '{"filter": {"status": {"$regex": "^a+$"}}}'),
    ("status=imatch.ab", '{"filter": {"status": {"$regex": "ab", "$options": "i"}}}'),
    ("status=match.(?i)ab", '{"filter": {"status": {"$regex": "ab", "$options": "i"}}}'),
    ("status=wfts(english).late%20fee", '{"filter": {"status": {"$text": {"$search": "late fee", "$language": "english"}}}}'),
    ("tags=cs.{a,b}", '{"filter": {"tags": {"$contains": ["a", "b"]}}}'),
    ("tags=cs.{a}", '{"filter": {"tags": {"$contains": "a"}}}'),
    ("scores=ov.{1,2}", '{"filter": {"scores": {"$overlap": [1, 2]}}}'),
    ('metadata=cs.{"a":1}', '{"filter": {"metadata": {"$contains": {"a": 1}}}}'),
    ("metadata->n=gt.5", '{"filter": {"metadata.n": {"$gt": 5}}}'),
    ('metadata->lang=eq."en"', '{"filter": {"metadata.lang": "en"}}'),
    ("metadata->ok=eq.true", '{"filter": {"metadata.ok": true}}'),
    ("metadata->items->0->price=lt.2.5", '{"filter": {"metadata.items.0.price": {"$lt": 2.5}}}'),
    ("metadata->a=eq.[1]", '{"filter": {"metadata.a": [1]}}'),
    ("metadata->a->>b=is.null", '{"filter": {"metadata.a.b": null}}'),
    ("metadata->a=eq.null", '{"filter": {"metadata.a": null}}'),
    ("metadata->lang=like.e*", '{"filter": {"metadata.lang": {"$like": "e%"}}}'),
    ("metadata->n=in.(1,2)", '{"filter": {"metadata.n": {"$in": [1, 2]}}}'),
    ('or=(metadata->n.in.(1),metadata->n.in.("x"))', '{"filter": {"metadata.n": {"$in": [1, "x"]}}}'),
    ('metadata->tags=cs.["a"]', '{"filter": {"metadata.tags": {"$contains": ["a"]}}}'),
    ("select=id,status", '{"fields": ["id", "status"]}'),
    ("select=*", "{}"),
    ("select=metadata->a->b", '{"fields": ["metadata.a.b"]}'),
    ("order=created_at.desc,number", '{"sort": ["-created_at", "number"]}'),
    ("order=created_at.desc.nullslast", '{"sort": [{"field": "created_at", "direction": "desc", "nulls": "last"}]}'),
    ("order=metadata->n.desc", '{"sort": ["-metadata.n"]}'),
    ("limit=20&offset=3", '{"limit": 20, "offset": 3}'),
    ("limit=0", '{"limit": 0}'),
    ("count=exact", '{"count": "exact"}'),
    (
        "select=id,lines(total)&lines.total=gt.5&lines.order=total.desc&lines.limit=3",
        '{"fields": ["id"], "include": {"lines": {"fields": ["total"], "filter": {"total": {"$gt": 5}}, "sort": ["-total"], "limit": 3}}}',
    ),
    ("select=*,lines(*)&lines=not.is.null", '{"include": {"lines": {"inner": true}}}'),
    ("select=*,lines(*)", '{"include": ["lines"]}'),
    (
        "select=*,lines!inner(*,invoice(id))",
        '{"include": {"lines": {"inner": true, "include": {"invoice": {"fields": ["id"]}}, "fields": ["*"]}}}',
    ),
    (
        "select=*,l:lines(*)&l.or=(total.gt.5,total.is.null)",
        '{"include": {"l": {"relation": "lines", "filter": {"$or": [{"total": {"$gt": 5}}, {"total": null}]}}}}',
    ),
]


@pytest.mark.parametrize(("query_string", "body"), SAME)
def test_a_query_means_the_same_in_both_syntaxes(query_string, body):
    one, one_values = from_query_string(query_string)
    other, other_values = from_json(body)
    assert one.query == other.query
    assert one_values == other_values


DIFFERENT = [
    ("status=neq.draft", '{"filter": {"$nor": [{"status": {"$ne": "draft"}}]}}'),
    ("metadata->>n=eq.5", '{"filter": {"metadata.n": 5}}'),
    ("status=like.a%", '{"filter": {"status": {"$ilike": "a%"}}}'),
    ("order=number.desc", '{"sort": ["number"]}'),
]


@pytest.mark.parametrize(("query_string", "body"), DIFFERENT)
def test_different_questions_are_bound_differently(query_string, body):
    assert from_query_string(query_string)[0].query != from_json(body)[0].query
