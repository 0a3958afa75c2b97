"""The scripts and make targets that people know by name are thin, and do what `portico` does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.portico import REPOSITORY

pytestmark = pytest.mark.migrations

SCRIPTS = {
    "scripts/run_migrations.py": (),
    "scripts/run_migrations.sh": (),
    "scripts/verify_schema.py": (),
    "scripts/populate_test_data.py": ("--size", "small"),
    "scripts/backup_database.sh": ("--output", "kept"),
}


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A database of its own, made ready."""
    found = os.environ | {
        "PYTHONPATH": str(REPOSITORY / "src"),
        "DATABASE_URL": f"sqlite:///{tmp_path}/app.db",
        "PYTHON": sys.executable,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    done = subprocess.run([sys.executable, "-m", "portico", "init-db"], cwd=tmp_path, env=found, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_does_what_its_verb_does(script: str, environment: dict[str, str], tmp_path: Path):
    command = [str(REPOSITORY / script), *SCRIPTS[script]]
    if script.endswith(".py"):
        command = [sys.executable, *command]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    said = {"run": "Nothing is pending", "ver": "as declared", "pop": "added", "bac": "read again and unharmed"}
    assert said[Path(script).name[:3]] in done.stdout
    wrong = subprocess.run([*command, "--wrong"], cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert wrong.returncode == 2


def test_revisions_of_models_are_written_added_to_git_and_applied(environment: dict[str, str], tmp_path: Path):
    for name in ("alembic.ini", "makemigration.sh", "migrate.sh"):
        shutil.copy(REPOSITORY / name, tmp_path)
    shutil.copytree(REPOSITORY / "model_migrations", tmp_path / "model_migrations")
    shutil.copytree(REPOSITORY / "scripts", tmp_path / "scripts")
    book = "class Book(SQLModel, table=True):\n    id: int | None = Field(default=None, primary_key=True)\n"
    (tmp_path / "models.py").write_text(f"from sqlmodel import Field, SQLModel\n\n{book}")
    ini = tmp_path / "alembic.ini"
    ini.write_text(ini.read_text().replace("models =", "models = models"))
    environment |= {"DATABASE_URL": f"sqlite:///{tmp_path}/models.db"}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("git", "init", "-q")
    written = run("./makemigration.sh", "add books").splitlines()[-1]
    assert written in run("git", "diff", "--cached", "--name-only").split()
    run("./migrate.sh")
    (tmp_path / "models.py").write_text(f"from sqlmodel import Field, SQLModel\n\n{book}    title: str = ''\n")
    run(sys.executable, "scripts/generate_migration.py", "add titles")
    assert list((tmp_path / "model_migrations" / "versions").glob("[0-9]*_[0-9]*_add_titles.py"))


@pytest.mark.parametrize(
    ("target", "runs"),
    [("migrate", "portico migrate up"), ("migration", "portico migrate new"), ("verify", "portico verify-schema"), ("test-db", "pytest")],
)
def test_make_knows_the_familiar_targets(target: str, runs: str):
    shown = subprocess.run(
        ["make", "--dry-run", target, "name=add invoices"], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )  # fmt: skip
    assert (shown.returncode, runs in shown.stdout) == (0, True), shown.stdout + shown.stderr
