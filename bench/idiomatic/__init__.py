"""The service a team would write: FastAPI, SQLAlchemy's async ORM, Pydantic."""
