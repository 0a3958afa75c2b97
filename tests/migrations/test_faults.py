"""What an error of the database means for a migration that it ends."""

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from portico.errors import DatabaseUnavailable, MigrationError
from portico.migrations.faults import translate


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.ConnectionFailure, DatabaseUnavailable),
        (psycopg.errors.AdminShutdown, DatabaseUnavailable),
        (psycopg.errors.UniqueViolation, MigrationError),
    ],
)
def test_a_connection_that_the_server_ends_is_no_fault_of_the_migration(
    error: type[psycopg.Error], expected: type[DatabaseUnavailable | MigrationError]
) -> None:
    assert type(translate(DBAPIError("", None, error("said")), "step")) is expected
