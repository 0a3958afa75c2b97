"""The floor on SQLite: one read per call in Starlette + sqlite3, on the loop, JSON made by the database, nothing else.

`BENCH_FILE` names the database file.
"""

import os
import sqlite3

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

GET = """
    SELECT json_object(
        'id', id, 'client_id', client_id, 'filename', filename, 'file_size', file_size, 'file_type', file_type,
        'content_type', content_type, 'upload_timestamp', upload_timestamp, 'file_path', file_path, 'summary', summary,
        'metadata', json(metadata), 'uploaded_by', uploaded_by)
    FROM document_metadata WHERE id = ? AND client_id = ?
"""

connection = sqlite3.connect(os.environ["BENCH_FILE"], isolation_level=None)


async def get_document(request: Request) -> Response:
    """One document of a client."""
    row = connection.execute(GET, (int(request.path_params["id"]), request.path_params["client"])).fetchone()
    if row is None:
        return Response(status_code=404)
    body = f'{{"success": true, "data": {row[0]}, "message": "", "correlation_id": null}}'
    return Response(body, media_type="application/json")


app = Starlette(routes=[Route("/clients/{client}/documents/{id}", get_document)])
