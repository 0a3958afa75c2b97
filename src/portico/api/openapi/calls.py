"""The calls of a collection, of clients and of events, as OpenAPI operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from portico.model.collection import Collection
from portico.model.identity import Permission

Json = dict[str, object]

FILTERED = ("select", "include", "order", "limit", "offset", "cursor", "count", "explain", "and", "or", "not.and", "not.or")
INSIDE: Json = {"$ref": "#/components/parameters/Transaction"}
"""The header that puts a call inside of a transaction."""

_INCLUDE = "Relations whose documents are included, by commas: `lines,client(name)`. An answer with an include has no ETag."
_READ_ERRORS = (400, 401, 403, 404, 410, 422, 501, 503, 504)
_WRITE_ERRORS = (400, 401, 403, 404, 409, 410, 413, 415, 422, 501, 503, 504)


@dataclass(frozen=True, slots=True)
class Described:
    """A collection with what its operations refer to: `name` of its schemas, and what the caller may do."""

    collection: Collection
    component: str
    permissions: frozenset[Permission]
    hidden: frozenset[str]

    @property
    def document(self) -> Json:
        """The schema of its documents."""
        return reference(self.component)

    @property
    def selected(self) -> Json:
        """The schema of its documents with the fields that a read asked for."""
        return reference(self.component + "Selected")

    def body(self, suffix: str, *, many: bool = False) -> Json:
        """The body of a write: one document, or an array of them as well."""
        one = reference(self.component + suffix)
        schema: Json = {"oneOf": [one, {"type": "array", "items": one, "maxItems": 10_000}]} if many else one
        return {"required": True, "content": {"application/json": {"schema": schema}}}


def reference(component: str) -> Json:
    """A reference to a schema."""
    return {"$ref": f"#/components/schemas/{component}"}


def all_documents(described: Described, tag: str, *, filters: bool = True) -> Json:
    """`GET POST PATCH DELETE` on the collection's own path."""
    calls: Json = {}
    query = _query(described) if filters else []
    if Permission.READ in described.permissions:
        calls["get"] = _call(f"List {tag}", tag, _page(described), _READ_ERRORS, parameters=query)
    if described.collection.read_only:
        return calls
    if Permission.CREATE in described.permissions:
        calls["post"] = _call(
            f"Create one or many {tag}, all or none", tag,
            _written(described, upserts=filters), _WRITE_ERRORS, body=described.body("Create", many=True),
            parameters=[*SAFE, *((*_ANSWERED, _ON_CONFLICT, _COLUMNS) if filters else ())],
        )  # fmt: skip
    affected = [*_filters(described), *_ANSWERED, *SAFE]
    if Permission.UPDATE in described.permissions and filters:
        calls["patch"] = _call(
            f"Change every one of {tag} that matches",
            tag,
            _affected(described),
            _WRITE_ERRORS,
            body=_changes(described),
            parameters=affected,
        )
    if Permission.DELETE in described.permissions and filters:
        calls["delete"] = _call(f"Delete every one of {tag} that matches", tag, _affected(described), _WRITE_ERRORS, parameters=affected)
    return calls


def one_document(described: Described, tag: str) -> Json:
    """`GET PUT PATCH DELETE` on a document's path."""
    calls: Json = {}
    found = {"200": _answer("The document", described.selected)}
    read: Json = {"200": _answer("The document", described.selected), "304": {"description": "Not modified"}}
    condition = [_header("If-Match", "The ETag that the document must have."), *SAFE]
    changed = [*condition, *_ANSWERED]
    if Permission.READ in described.permissions:
        fresh = [
            _header("If-None-Match", "An ETag: 304 where the document still has it."),
            *_ANSWERED,
        ]
        calls["get"] = _call(f"Get one of {tag}", tag, read, _READ_ERRORS, parameters=fresh)
    if described.collection.read_only:
        return calls
    if Permission.UPDATE in described.permissions:
        errors = (*_WRITE_ERRORS, 412)
        calls["patch"] = _call(f"Change one of {tag}", tag, found, errors, body=described.body("Change"), parameters=changed)
        calls["put"] = _call(f"Replace one of {tag}", tag, found, errors, body=described.body("Create"), parameters=changed)
    if Permission.DELETE in described.permissions:
        gone: Json = {"204": {"description": "Deleted"}}
        calls["delete"] = _call(f"Delete one of {tag}", tag, gone, (*_WRITE_ERRORS, 412), parameters=condition)
    return calls


def named_calls(described: Described, tag: str) -> dict[str, Json]:
    """The calls below the collection's path, by name."""
    calls: dict[str, Json] = {}
    if Permission.READ in described.permissions:
        body: Json = {"required": True, "content": {"application/json": {"schema": reference("Query")}}}
        counted = {"200": _answer("How many match", {"type": "integer", "minimum": 0})}
        query = [_EXPLAIN] if Permission.ADMIN in described.permissions else []
        calls["query"] = {"post": _call(f"Query {tag} with a JSON body", tag, _page(described), _READ_ERRORS, body=body, parameters=query)}
        calls["count"] = {"get": _call(f"Count {tag}", tag, counted, _READ_ERRORS, parameters=_filters(described))}
    if Permission.AGGREGATE in described.permissions:
        pipeline: Json = {"required": True, "content": {"application/json": {"schema": reference("Pipeline")}}}
        results = {"200": _answer("What the last stage gives", {"type": "array", "items": {"type": "object"}})}
        errors = (*_READ_ERRORS, 413, 415)
        calls["aggregate"] = {"post": _call(f"Aggregate {tag} by a pipeline", tag, results, errors, body=pipeline)}
    if Permission.READ in described.permissions and described.collection.audit:
        events: Json = {"text/event-stream": {"schema": {"type": "string"}}}
        followed: Json = {"200": {"description": "Events `create`, `update` and `delete`", "content": events}}
        places = [_header("Last-Event-ID", "The `id` of the last event that was seen."), _parameter("after", "The same, as a parameter.")]
        calls["changes"] = {"get": _call(f"Follow changes of {tag}", tag, followed, (*_READ_ERRORS, 410), parameters=places)}
    lines: Json = {media: {"schema": {"type": "string"}} for media in ("application/x-ndjson", "text/csv")}
    if Permission.EXPORT in described.permissions:
        found: Json = {"200": {"description": "A document a line", "content": lines}}
        form = {**_parameter("format", "`csv` for CSV with a header; `ndjson` is the default."), "schema": {"enum": ["ndjson", "csv"]}}
        calls["export"] = {"get": _call(f"Export {tag}", tag, found, _READ_ERRORS, parameters=[form, *_filters(described)])}
    if Permission.CREATE in described.permissions and not described.collection.read_only:
        counts = {name: {"type": "integer"} for name in ("count", "created", "merged", "ignored")}
        made = {
            code: _answer(text, {"type": "object", "properties": counts, "required": ["count"]})
            for code, text in (("201", "How many were created"), ("200", "How many were merged, where none was created"))
        }
        sent: Json = {"required": True, "content": lines}
        calls["import"] = {
            "post": _call(f"Import {tag}, all or none", tag, made, _WRITE_ERRORS, body=sent, parameters=[*SAFE, _ON_CONFLICT])
        }
    return calls


def version_calls(described: Described, tag: str) -> dict[str, Json]:
    """The calls below a document's path that are about its versions, by the rest of their path."""
    calls: dict[str, Json] = {}
    if not described.collection.versioned:
        return calls
    if Permission.READ in described.permissions:
        kept: Json = {"oneOf": [described.selected, {"type": "null"}]}
        texts = ("operation", "at", "service", "client_id", "user_id", "correlation_id")
        about: Json = {name: {"type": ["string", "null"]} for name in texts}
        version: Json = {"type": "object", "properties": {"version": {"type": "integer"}, **about, "document": kept}}
        paging = [_parameter("limit", "Versions of the page."), _parameter("cursor", "The `next_cursor` of the page before.")]
        listed = {"200": _answer("The versions, newest first", {"type": "array", "items": version})}
        calls["history"] = {"get": _call(f"List the versions of one of {tag}", tag, listed, _READ_ERRORS, parameters=paging)}
        calls["history/{version}"] = {"get": _call("Get a version", tag, {"200": _answer("The version", version)}, _READ_ERRORS)}
    if Permission.UPDATE in described.permissions and not described.collection.read_only:
        number: Json = {"type": "object", "properties": {"version": {"type": "integer", "minimum": 1}}, "required": ["version"]}
        body: Json = {"required": True, "content": {"application/json": {"schema": number}}}
        found = {"200": _answer("The document as it is now", described.document), "201": _answer("It had been deleted", described.document)}
        condition = [_header("If-Match", "The ETag that the document must have.")]
        errors = (*_WRITE_ERRORS, 412)
        calls["restore"] = {"post": _call("Set a document back to a version", tag, found, errors, body=body, parameters=condition)}
    return calls


def _written(described: Described, *, upserts: bool) -> Json:
    document = described.selected if upserts else described.document
    documents: Json = {"type": "array", "items": document}
    made: Json = {"201": _answer("What was created", {"oneOf": [document, documents]})}
    if upserts:
        made["200"] = _answer("What was merged, where nothing was created", {"oneOf": [document, documents, {"type": "null"}]})
    return made


def _changes(described: Described) -> Json:
    """The body of a change of many: what all that match are set to, or each document with its key and its own values."""
    each: Json = {"type": "object", "description": "The key, what is set, and `etag` where the document must be as it was read."}
    schema: Json = {"oneOf": [reference(described.component + "Change"), {"type": "array", "items": each, "maxItems": 10_000}]}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def path_parameter(name: str, description: str) -> Json:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}, "description": description}


def _call(
    summary: str,
    tag: str,
    answers: Mapping[str, object],
    errors: Iterable[int],
    *,
    body: Json | None = None,
    parameters: list[Json] | None = None,
) -> Json:
    call: Json = {"summary": summary, "tags": [tag], "responses": {**answers, **{str(code): error(code) for code in sorted(errors)}}}
    call["parameters"] = [*(parameters or ()), INSIDE]
    if body is not None:
        call["requestBody"] = body
    return call


def error(code: int) -> Json:
    """The reference to the answer of an error."""
    return {"$ref": f"#/components/responses/Error{code}"}


def _answer(description: str, data: Json) -> Json:
    schema = {"allOf": [reference("Envelope"), {"type": "object", "properties": {"data": data}}]}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _page(described: Described) -> Json:
    data: Json = {"type": "array", "items": described.selected}
    if Permission.ADMIN in described.permissions:
        data = {"oneOf": [data, {"type": "object", "description": "With `explain=true`, how the read ran."}]}
    schema = {"allOf": [reference("Envelope"), {"type": "object", "properties": {"data": data, "page": reference("Page")}}]}
    return {"200": {"description": "A page of documents", "content": {"application/json": {"schema": schema}}}}


def _affected(described: Described) -> Json:
    count: Json = {"type": "object", "properties": {"count": {"type": "integer"}}}
    return {"200": _answer("How many, or the documents", {"oneOf": [count, {"type": "array", "items": described.selected}]})}


def _query(described: Described) -> list[Json]:
    texts = {
        "select": "Fields and relations, by commas: `id,title,lines(total)`.",
        "include": _INCLUDE,
        "order": "Fields with a direction, by commas: `created_at.desc.nullslast`.",
        "cursor": "The `next_cursor` of the page before.",
    }
    clauses = [_parameter(name, text) for name, text in texts.items()]
    clauses += [
        {**_parameter("limit", "Documents of the page."), "schema": {"type": "integer", "minimum": 0}},
        {**_parameter("offset", "Documents to skip."), "schema": {"type": "integer", "minimum": 0}},
        {**_parameter("count", "How many match in all."), "schema": {"enum": ["exact", "planned", "estimated"]}},
    ]
    if Permission.ADMIN in described.permissions:
        clauses.append(_EXPLAIN)
    return [*clauses, *_filters(described)]


def _filters(described: Described) -> list[Json]:
    names = [field.name for field in described.collection.fields if field.name not in described.hidden and field.name not in FILTERED]
    return [_parameter(name, "`operator.value`, such as `eq.draft`, `gte.2`, `in.(a,b)`, `is.null`.") for name in names]


def _parameter(name: str, description: str) -> Json:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": description}


def _header(name: str, description: str) -> Json:
    return {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": description}


SAFE = (
    _header("Idempotency-Key", "Makes a retry safe: the write is applied once, and its answer replayed."),
    _header(
        "Prefer",
        "`tx=rollback` undoes the write. A change of many: `return=representation` answers the documents, `max-affected=N` limits them. "
        "A create: `resolution=merge-duplicates` or `ignore-duplicates` upserts; `missing=default` or `null` for members that are missing.",
    ),
)
"""Headers that every write takes."""


_ANSWERED = (_parameter("select", "Fields and relations of what is answered, by commas."), _parameter("include", _INCLUDE))
_ON_CONFLICT = _parameter(
    "on_conflict", "Unique fields by commas, which decide whether a document is there already; the key where it is left out."
)
_COLUMNS = _parameter("columns", "The fields that are written, by commas; other members are left out.")

_EXPLAIN: Json = {
    **_parameter("explain", "`true` answers how the database reads the documents, and not the documents; needs `admin`."),
    "schema": {"type": "boolean"},
}
