"""The idiomatic service: FastAPI with typed routes, SQLAlchemy's async ORM, Pydantic response models, on uvicorn.

As their documentation shows it: a session per request from a dependency, mapped classes, `model_validate` from
attributes. `BENCH_DSN` names the database and the application role.
"""

import datetime
import os
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, BigInteger, DateTime, String, Text, func, select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["BENCH_DSN"].replace("postgresql://", "postgresql+asyncpg://"), pool_size=20)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    """The mapped classes."""


class DocumentRow(Base):
    """A row of `document_metadata`."""

    __tablename__ = "document_metadata"
    __table_args__ = {"schema": "plain"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    client_id: Mapped[str] = mapped_column(String(255))
    filename: Mapped[str] = mapped_column(String(500))
    file_size: Mapped[int] = mapped_column(BigInteger)
    file_type: Mapped[str] = mapped_column(String(100))
    content_type: Mapped[str | None] = mapped_column(String(255))
    upload_timestamp: Mapped[datetime.datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    file_path: Mapped[str] = mapped_column(String(1000))
    summary: Mapped[str | None] = mapped_column(Text)
    document_metadata: Mapped[dict[str, Any]] = mapped_column("metadata", JSON)
    uploaded_by: Mapped[uuid.UUID | None]


class Document(BaseModel):
    """A document as the API answers it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    client_id: str
    filename: str
    file_size: int
    file_type: str
    content_type: str | None
    upload_timestamp: datetime.datetime
    file_path: str
    summary: str | None
    document_metadata: dict[str, Any]
    uploaded_by: uuid.UUID | None


DataT = TypeVar("DataT")


class Page(BaseModel):
    """What a list says about itself."""

    limit: int
    count: int | None = None
    next_cursor: str | None = None


class Answer(BaseModel, Generic[DataT]):
    """The envelope."""

    success: bool = True
    data: DataT
    message: str = ""
    page: Page | None = None
    correlation_id: str | None = None


async def session() -> AsyncIterator[AsyncSession]:
    """A session for one request."""
    async with sessions() as opened:
        yield opened


Session = Annotated[AsyncSession, Depends(session)]
app = FastAPI()


@app.get("/clients/{client}/documents/{document_id}")
async def get_document(client: str, document_id: int, db: Session) -> Answer[Document]:
    """One document of a client."""
    row = await db.scalar(select(DocumentRow).where(DocumentRow.id == document_id, DocumentRow.client_id == client))
    if row is None:
        raise HTTPException(404)
    return Answer[Document](data=Document.model_validate(row))


@app.get("/clients/{client}/documents")
async def list_documents(client: str, db: Session, limit: int = 50) -> Answer[list[Document]]:
    """The first documents of a client."""
    rows = await db.scalars(select(DocumentRow).where(DocumentRow.client_id == client).order_by(DocumentRow.id).limit(limit))
    return Answer[list[Document]](data=[Document.model_validate(row) for row in rows], page=Page(limit=limit))
