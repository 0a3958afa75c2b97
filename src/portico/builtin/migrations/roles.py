"""PostgreSQL's three roles: `appowner` owns everything and cannot log in, `appuser` changes rows, `backupuser` reads all of them.

A login that may not create roles uses those that exist. Without `appowner`, the login itself owns what it creates.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import sqlalchemy as sa

OWNER, APPLICATION, BACKUP = "appowner", "appuser", "backupuser"
SCHEMAS = ("app", "portico")

_CREATE = {
    OWNER: "NOLOGIN",
    APPLICATION: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS",
    BACKUP: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS",
}


def create_roles(connection: sa.Connection) -> None:
    """Create the roles that are missing, as far as the login may. They have no password: who runs the server gives them one.

    Roles belong to the whole server: another database's migration may create the same one at the same moment, which is well too.
    """
    connection.execute(sa.text("RESET ROLE"))
    if not connection.scalar(sa.text("SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user")):
        return
    for role, options in _CREATE.items():
        grant = f"GRANT {role} TO CURRENT_USER;" if role == OWNER else ""
        missing = f"NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = '{role}')"  # noqa: S608  # constants of this module
        connection.exec_driver_sql(
            f"DO $$ BEGIN IF {missing} THEN CREATE ROLE {role} {options}; {grant} END IF; "
            "EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN NULL; END $$"
        )


def act_as_owner(connection: sa.Connection) -> None:
    """Act as `appowner` to the end of the transaction, where the login may; nothing is created."""
    statement = sa.text("SELECT 1 FROM pg_roles WHERE rolname = :owner AND pg_has_role(session_user, oid, 'MEMBER')")
    if connection.scalar(statement, {"owner": OWNER}):
        connection.execute(sa.text(f"SET LOCAL ROLE {OWNER}"))


def assume_owner(connection: sa.Connection) -> None:
    """Make sure that the schemas exist, and act as `appowner` from here to the end of the transaction where the login may.

    What the login itself owns in the schemas is handed over to `appowner`.
    """
    connection.execute(sa.text("RESET ROLE"))
    may_become = connection.scalar(
        sa.text("SELECT 1 FROM pg_roles WHERE rolname = :owner AND pg_has_role(session_user, oid, 'MEMBER')"), {"owner": OWNER}
    )
    may_create = connection.scalar(sa.text("SELECT has_database_privilege(current_database(), 'CREATE')"))
    if not may_become:
        _create_schemas(connection, "")
        return
    if may_create:
        _create_schemas(connection, f" AUTHORIZATION {OWNER}")
        _hand_over(connection)
    connection.execute(sa.text(f"SET LOCAL ROLE {OWNER}"))
    if not may_create:
        _create_schemas(connection, "")


_GRANTS = {APPLICATION: ("SELECT, INSERT, UPDATE, DELETE", "USAGE, SELECT"), BACKUP: ("SELECT", "SELECT")}


def application_grants(roles: Iterable[str]) -> Iterator[str]:
    """Statements that let `appuser` change rows, and `backupuser` read them, in schema `app`: what is there, and what the owner adds."""
    for role in sorted(set(roles) & set(_GRANTS)):
        tables, sequences = _GRANTS[role]
        yield f"GRANT USAGE ON SCHEMA app TO {role}"
        yield f"GRANT {tables} ON ALL TABLES IN SCHEMA app TO {role}"
        yield f"GRANT {sequences} ON ALL SEQUENCES IN SCHEMA app TO {role}"
        yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT {tables} ON TABLES TO {role}"
        yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA app GRANT {sequences} ON SEQUENCES TO {role}"


def application_revokes(roles: Iterable[str]) -> Iterator[str]:
    """Statements that undo `application_grants`."""
    for role in sorted(set(roles) & set(_GRANTS)):
        yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE ALL ON SEQUENCES FROM {role}"
        yield f"ALTER DEFAULT PRIVILEGES IN SCHEMA app REVOKE ALL ON TABLES FROM {role}"
        yield f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA app FROM {role}"
        yield f"REVOKE ALL ON ALL TABLES IN SCHEMA app FROM {role}"
        yield f"REVOKE ALL ON SCHEMA app FROM {role}"


def grant_tables(connection: sa.Connection, tables: Iterable[sa.Table], privileges: str = "SELECT, INSERT, UPDATE, DELETE") -> None:
    """Let `appuser` do `privileges`, and `backupuser` read, in tables outside of schema `app`."""
    for role in sorted(existing_roles(connection) & {APPLICATION, BACKUP}):
        for table in tables:
            name = connection.dialect.identifier_preparer.format_table(table)
            connection.exec_driver_sql(f"GRANT {privileges if role == APPLICATION else 'SELECT'} ON {name} TO {role}")


def existing_roles(connection: sa.Connection) -> set[str]:
    """Which of the three roles the server has."""
    statement = sa.text("SELECT rolname FROM pg_roles WHERE rolname = ANY (:names)")
    return set(connection.scalars(statement, {"names": [OWNER, APPLICATION, BACKUP]}))


def _create_schemas(connection: sa.Connection, authorization: str) -> None:
    # Asking first: CREATE SCHEMA IF NOT EXISTS wants the privilege to create even where there is nothing to do.
    for schema in SCHEMAS:
        if not connection.scalar(sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :name"), {"name": schema}):
            connection.execute(sa.text(f"CREATE SCHEMA {schema}{authorization}"))


def _hand_over(connection: sa.Connection) -> None:
    names = connection.scalars(
        sa.text("SELECT nspname FROM pg_namespace WHERE nspname = ANY (:schemas) AND nspowner = current_user::regrole"),
        {"schemas": list(SCHEMAS)},
    ).all()
    for name in names:
        connection.execute(sa.text(f"ALTER SCHEMA {name} OWNER TO {OWNER}"))
    # Sequences of columns follow their table.
    tables = connection.scalars(
        sa.text("""
        SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relowner = current_user::regrole"""),
        {"schemas": list(SCHEMAS)},
    ).all()
    for table in tables:
        connection.execute(sa.text(f"ALTER TABLE {table} OWNER TO {OWNER}"))
