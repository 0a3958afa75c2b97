"""A little sample data for the embedded database, created through the same pipeline as everybody's."""

from __future__ import annotations

from portico.events import discard
from portico.model.identity import Actor
from portico.model.scope import Scope
from portico.parts import build
from portico.service.authenticate import DEVELOPMENT
from portico.service.caller import Caller
from portico.settings import Settings

CLIENT = "demo"
USER = "01920000-0000-7000-8000-000000000001"
CONVERSATION = "01920000-0000-7000-8000-000000000002"

SAMPLES: tuple[tuple[str, dict[str, object]], ...] = (
    ("clients", {"id": CLIENT, "name": "Demo Ltd", "email": "hello@demo.example"}),
    (
        "users",
        {"user_id": USER, "client_id": CLIENT, "username": "ada", "email": "ada@demo.example", "full_name": "Ada Example", "role": "admin"},
    ),
    (
        "document_metadata",
        {
            "filename": "welcome.txt",
            "file_size": 512,
            "file_type": "text/plain",
            "file_path": "/samples/welcome.txt",
            "summary": "Start here",
        },
    ),
    (
        "document_metadata",
        {"filename": "report.pdf", "file_size": 20480, "file_type": "application/pdf", "file_path": "/samples/report.pdf"},
    ),
    ("document_metadata", {"filename": "logo.png", "file_size": 4096, "file_type": "image/png", "file_path": "/samples/logo.png"}),
    ("document_metadata", {"filename": "prices.csv", "file_size": 1024, "file_type": "text/csv", "file_path": "/samples/prices.csv"}),
    ("documents", {"user_id": USER, "project_name": "Launch", "content": "A first draft.", "metadata": {"lang": "en"}}),
    ("conversations", {"conversation_id": CONVERSATION, "user_id": USER, "title": "Getting started"}),
    ("messages", {"conversation_id": CONVERSATION, "role": "user", "content": "What is Portico?"}),
    ("messages", {"conversation_id": CONVERSATION, "role": "assistant", "content": "One door between services and their databases."}),
)


async def create_samples(settings: Settings) -> None:
    """Create the sample documents. Raises PorticoError."""
    service = build(settings, discard)
    caller = Caller(DEVELOPMENT, Scope(clients=(CLIENT,)), Actor("portico", CLIENT, None, "sample-data"))
    try:
        await service.start()
        for collection, document in SAMPLES:
            await service.writes.create(caller, collection, document)
    finally:
        await service.close()
