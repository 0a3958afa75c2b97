"""Alembic for a service's own models: plain `alembic` commands work with what ships."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.servers.portico import REPOSITORY

pytestmark = pytest.mark.migrations

MODELS = """
from sqlmodel import Field, SQLModel


class Book(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    title: str
"""


def test_plain_alembic_writes_applies_and_undoes_revisions_of_a_services_models(tmp_path: Path):
    shutil.copy(REPOSITORY / "alembic.ini", tmp_path)
    shutil.copytree(REPOSITORY / "model_migrations", tmp_path / "model_migrations")
    (tmp_path / "models.py").write_text(MODELS)
    ini = tmp_path / "alembic.ini"
    ini.write_text(ini.read_text().replace("models =", "models = models"))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src"), "DATABASE_URL": f"sqlite:///{tmp_path}/app.db"}

    def alembic(*arguments: str) -> str:
        command = [sys.executable, "-m", "alembic", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def tables() -> set[str]:
        with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
            return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}

    alembic("revision", "--autogenerate", "-m", "add books")
    assert "CREATE TABLE book" in alembic("upgrade", "head", "--sql")
    alembic("upgrade", "head")
    assert "book" in tables()
    alembic("downgrade", "base")
    assert "book" not in tables()
