"""`portico key`, as an operator and a script use it."""

import json
import re

import pytest

from portico.cli.common import ExitCode
from portico.store.keys import parse
from tests.conftest import StartPortico
from tests.servers.portico import PorticoProcess
from tests.servers.postgres import PostgresDatabase

CREATE = ("key", "create", "--service", "billing", "--allow", "documents:read,create", "--allow", "*:read")


@pytest.fixture
def embedded(portico: StartPortico) -> PorticoProcess:
    """A Portico over SQLite that is configured and not started."""
    return portico("sqlite", start=False)


def answer(process: PorticoProcess, *arguments: str) -> object:
    result = process.run(*arguments, "--json")
    assert result.returncode == ExitCode.OK, result.stderr
    return json.loads(result.stdout)


def fields(value: object) -> dict[str, object]:
    assert isinstance(value, dict)
    return value


def test_a_key_is_created_listed_and_revoked(embedded: PorticoProcess) -> None:
    created = fields(answer(embedded, *CREATE, "--clients", "b,a", "--expires", "90d", "--label", "nightly"))
    assert parse(str(created["key"]).encode()) is not None
    assert created["rules"] == [{"pattern": "documents", "permissions": ["create", "read"]}, {"pattern": "*", "permissions": ["read"]}]
    assert created["clients"] == ["a", "b"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(created["expires_at"]))
    listed = answer(embedded, "key", "list")
    assert listed == [{name: value for name, value in created.items() if name != "key"}]
    revoked = fields(answer(embedded, "key", "revoke", str(created["id"])))
    assert revoked["state"] == "revoked"


def test_the_key_alone_is_on_standard_output_and_is_never_shown_again(embedded: PorticoProcess) -> None:
    created = embedded.run(*CREATE, "--clients", "*")
    assert parse(created.stdout.strip().encode()) is not None
    listed = embedded.run("key", "list")
    assert created.stdout.strip().split("_")[1] in listed.stdout
    assert created.stdout.strip().split("_")[2] not in listed.stdout


def test_a_grant_changes_what_a_key_may_do(embedded: PorticoProcess) -> None:
    created = fields(answer(embedded, *CREATE, "--clients", "a"))
    arguments = ("--allow", "users:*", "--hide", "users:email", "--read-only", "users:role", "--row-filter", 'users:{"active": true}')
    changed = fields(answer(embedded, "key", "grant", "--id", str(created["id"]), *arguments))
    rules = changed["rules"]
    assert isinstance(rules, list)
    assert rules[1:] == [
        {"pattern": "users", "permissions": [], "hidden": ["email"]},
        {"pattern": "users", "permissions": [], "read_only": ["role"]},
        {"pattern": "users", "permissions": [], "row_filter": '{"active":true}'},
    ]
    assert changed["clients"] == ["a"]


def test_a_grant_to_a_service_keeps_what_it_does_not_name(embedded: PorticoProcess) -> None:
    answer(embedded, "key", "grant", "--service", "web", "--allow", "documents:read", "--clients", "*", "--rate-limit", "10/second")
    changed = fields(answer(embedded, "key", "grant", "--service", "web", "--statement-timeout", "2.5"))
    assert (changed["clients"], changed["rate_limit"], changed["statement_timeout"]) == ("*", "10/second", 2.5)
    assert changed["rules"] == [{"pattern": "documents", "permissions": ["read"]}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("key", "create", "--service", "billing", "--clients", "a"), "--allow"),
        ((*CREATE,), "--clients"),
        ((*CREATE, "--clients", "a b"), "--clients"),
        ((*CREATE, "--clients", "a", "--allow", "documents:fly"), "fly"),
        ((*CREATE, "--clients", "a", "--allow", "documents"), "--allow"),
        ((*CREATE, "--clients", "a", "--expires", "soon"), "--expires"),
        ((*CREATE, "--clients", "a", "--row-filter", "documents:status=1"), "--row-filter"),
        (("key", "create", "--service", "a b", "--clients", "a", "--allow", "*:read"), "--service"),
        (("key", "grant", "--allow", "*:read"), "--id"),
        (("key", "grant", "--service", "web", "--rate-limit", "often"), "--rate-limit"),
    ],
    ids=str,
)
def test_a_mistake_is_answered_with_the_option_that_holds_it(embedded: PorticoProcess, arguments: tuple[str, ...], said: str) -> None:
    result = embedded.run(*arguments)
    assert result.returncode == 2
    assert said in result.stderr


def test_an_unknown_key_is_a_problem_that_says_where_to_look(embedded: PorticoProcess) -> None:
    result = embedded.run("key", "revoke", "unknown")
    assert result.returncode == ExitCode.PROBLEM
    assert "portico key list" in result.stderr


@pytest.mark.database
def test_a_postgresql_without_tables_is_answered_with_the_command_that_makes_them(
    portico: StartPortico, postgres_database: PostgresDatabase
) -> None:
    dsn = postgres_database.dsn()
    process = portico(config={"databases": {"main": {"type": "postgresql", "connection_string": dsn}}}, start=False)
    result = process.run(*CREATE, "--clients", "*")
    assert result.returncode == ExitCode.CONFIGURATION
    assert "portico init-db" in result.stderr


def test_a_database_that_is_not_there_is_unreachable_and_the_password_is_not_shown(portico: StartPortico) -> None:
    url = "postgresql://appuser:hunter22@127.0.0.1:1/app"
    result = portico(config={"databases": {"main": {"type": "postgresql", "connection_string": url}}}, start=False).run("key", "list")
    assert result.returncode == ExitCode.UNREACHABLE
    assert "hunter22" not in result.stdout + result.stderr
    assert "Traceback" not in result.stderr
