"""Every command and snippet of the README, the tutorial and the how-to guides runs, and answers what the page shows."""

from pathlib import Path

import pytest

from tests.docs.pages import DOCS, README
from tests.docs.runner import Runner
from tests.servers.postgres import PASSWORDS, PostgresDatabase, PostgresServer

ON_POSTGRESQL = {"deploy-with-postgresql.md", "serve-an-existing-postgresql.md"}
HOW_TO = DOCS / "how-to"
PAGES = [README, *sorted((DOCS / "tutorial").glob("*.md")), *sorted(HOW_TO.glob("*.md"))]


def run(page: Path, replaced: dict[str, str] | None = None, environment: dict[str, str] | None = None) -> None:
    runner = Runner(page, replaced, environment)
    try:
        assert runner.run() > 0
    finally:
        runner.close()


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in ON_POSTGRESQL], ids=lambda page: page.name)
def test_a_page_does_what_it_says_on_the_embedded_database(page: Path):
    run(page)


@pytest.mark.database
def test_an_existing_postgresql_is_served_as_the_guide_says(postgres_database: PostgresDatabase):
    logins = {"owner": postgres_database.dsn("postgres"), "appuser": postgres_database.dsn()}
    run(HOW_TO / "serve-an-existing-postgresql.md", {f"postgresql://{name}@localhost:5432/shop": url for name, url in logins.items()})


@pytest.mark.database
def test_production_is_set_up_on_postgresql_as_the_guide_says():
    server = PostgresServer.start(tls=True)
    try:
        server.execute("CREATE DATABASE appdb")
        assert server.authority is not None
        options = f"sslmode=verify-full&sslrootcert={server.authority.certificate}"
        replaced = {"db.example.com:5432/appdb?sslmode=verify-full": f"{server.host}:{server.port}/appdb?{options}"}
        run(HOW_TO / "deploy-with-postgresql.md", replaced, {"PGPASSWORD": PASSWORDS["postgres"]})
    finally:
        server.stop()
