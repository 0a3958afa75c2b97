"""The floor on PostgreSQL: one statement per call in Starlette + asyncpg, JSON made by the database, nothing else.

No key, no permission, no row-level security, no metrics, no correlation id. `BENCH_DSN` names the database and the
application role.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

DOCUMENT = """
    id, client_id, filename, file_size, file_type, content_type,
    to_char(upload_timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS upload_timestamp,
    file_path, summary, metadata, uploaded_by
"""
GET = f"SELECT row_to_json(d)::text FROM (SELECT {DOCUMENT} FROM plain.document_metadata WHERE id = $1 AND client_id = $2) d"
LIST = f"""
    SELECT coalesce(json_agg(d), '[]')::text
    FROM (SELECT {DOCUMENT} FROM plain.document_metadata WHERE client_id = $1 ORDER BY id LIMIT $2) d
"""
CREATE = f"""
    WITH created AS (
        INSERT INTO plain.document_metadata
            (client_id, filename, file_size, file_type, content_type, file_path, summary, metadata)
        VALUES ($1, $2, $3, $4, $5, $6, $7, coalesce($8::jsonb, '{{}}'))
        RETURNING *
    ), audited AS (
        INSERT INTO plain.audit (service, client_id, correlation_id, collection, operation, document_key, after)
        SELECT 'bench', client_id, '', 'document_metadata', 'create', id::text, to_jsonb(created) FROM created
    )
    SELECT row_to_json(d)::text FROM (SELECT {DOCUMENT} FROM created) d
"""
BULK_COLUMNS = ("client_id", "filename", "file_size", "file_type", "content_type", "file_path", "summary", "metadata")
EXPORT = f"SELECT row_to_json(d) FROM (SELECT {DOCUMENT} FROM plain.document_metadata WHERE client_id = $1 ORDER BY id) d"

pool: "asyncpg.Pool[asyncpg.Record]"


async def keep(_connection: object) -> None:
    """Give a connection back as it is: every statement here leaves it clean."""


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    """Open the pool of six for the life of the worker."""
    global pool
    async with asyncpg.create_pool(os.environ["BENCH_DSN"], min_size=6, max_size=6, reset=keep) as pool:
        yield


def envelope(data: str, message: str = "", extra: str = "", status: int = 200) -> Response:
    """The answer around the database's JSON."""
    body = f'{{"success": true, "data": {data}, "message": "{message}"{extra}, "correlation_id": null}}'
    return Response(body, status, media_type="application/json")


async def get_document(request: Request) -> Response:
    """One document of a client."""
    data = await pool.fetchval(GET, int(request.path_params["id"]), request.path_params["client"])
    return envelope(data) if data else Response(status_code=404)


async def list_documents(request: Request) -> Response:
    """The first documents of a client."""
    limit = int(request.query_params["limit"])
    data = await pool.fetchval(LIST, request.path_params["client"], limit)
    return envelope(data, extra=f', "page": {{"limit": {limit}, "count": null, "next_cursor": null}}')


def values(client: str, body: dict[str, object]) -> tuple[object, ...]:
    """The parameters of an insert, in the order of ``BULK_COLUMNS``."""
    metadata = json.dumps(body["metadata"]) if "metadata" in body else None
    return (client, *(body.get(name) for name in BULK_COLUMNS[1:-1]), metadata)


async def create_document(request: Request) -> Response:
    """Create a document and its audit row."""
    body = json.loads(await request.body())
    data = await pool.fetchval(CREATE, *values(request.path_params["client"], body))
    return envelope(data, "Document metadata created successfully", status=201)


async def create_documents(request: Request) -> Response:
    """Create an array of documents by `COPY`."""
    client = request.path_params["client"]
    rows = [values(client, body) for body in json.loads(await request.body())]
    async with pool.acquire() as connection:
        await connection.copy_records_to_table("document_metadata", schema_name="plain", columns=BULK_COLUMNS, records=rows)
    return envelope(f'{{"created": {len(rows)}}}', status=201)


async def export_documents(request: Request) -> Response:
    """Every document of a client as NDJSON, straight from `COPY TO`."""
    return StreamingResponse(copied(request.path_params["client"]), media_type="application/x-ndjson")


async def copied(client: str) -> AsyncIterator[bytes]:
    """The chunks of a `COPY TO`, handed over one at a time."""
    chunks: asyncio.Queue[bytes | bytearray] = asyncio.Queue(maxsize=4)

    async def copy() -> None:
        async with pool.acquire() as connection:
            # The JSON comes as it is: CSV whose quote and delimiter never occur in it.
            await connection.copy_from_query(EXPORT, client, output=chunks.put, format="csv", quote="\x01", delimiter="\x02")
        await chunks.put(b"")

    async with asyncio.TaskGroup() as group:
        group.create_task(copy())
        while chunk := await chunks.get():
            yield bytes(chunk)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/clients/{client}/documents/{id}", get_document),
        Route("/clients/{client}/documents", list_documents),
        Route("/clients/{client}/documents", create_document, methods=["POST"]),
        Route("/clients/{client}/bulk", create_documents, methods=["POST"]),
        Route("/clients/{client}/export", export_documents),
    ],
)
