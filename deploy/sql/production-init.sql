-- A database for production: roles, schema, grants. Run once by a superuser with psql in the database that Portico will serve; it can be run
-- again, and then sets the passwords anew. Passwords are read from files that these variables name, so that they are in no command line and no log:
--
--   APPUSER_PASSWORD_FILE MIGRATOR_PASSWORD_FILE BACKUPUSER_PASSWORD_FILE, and TEMPORAL_PASSWORD_FILE where Temporal shares the server.
--
-- The roles: appowner owns everything and cannot log in; migrator may become it, for `portico init-db` alone; appuser, the service, changes rows and
-- neither owns tables nor bypasses row-level security; backupuser reads all rows, for backups and reports.

\set ON_ERROR_STOP on
\set QUIET on
SET password_encryption = 'scram-sha-256';
-- What follows sets passwords: the server's log must not have them.
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';

\set appuser_password `cat "$APPUSER_PASSWORD_FILE"`
\set migrator_password `cat "$MIGRATOR_PASSWORD_FILE"`
\set backupuser_password `cat "$BACKUPUSER_PASSWORD_FILE"`
\set temporal_password `if [ -n "$TEMPORAL_PASSWORD_FILE" ]; then cat "$TEMPORAL_PASSWORD_FILE"; fi`

SELECT least(length(:'appuser_password'), length(:'migrator_password'), length(:'backupuser_password')) < 16 AS too_short,
       length(:'temporal_password') > 0 AS with_temporal \gset
\if :too_short
  DO $$ BEGIN RAISE EXCEPTION 'Each password file must hold 16 characters or more.'; END $$;
\endif

\ir extensions.sql

SELECT 'CREATE ROLE appowner NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'appowner') \gexec
SELECT 'CREATE ROLE appuser' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'appuser') \gexec
SELECT 'CREATE ROLE migrator' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'migrator') \gexec
SELECT 'CREATE ROLE backupuser' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'backupuser') \gexec

ALTER ROLE appowner NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
ALTER ROLE appuser LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'appuser_password';
ALTER ROLE migrator LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'migrator_password';
ALTER ROLE backupuser LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS PASSWORD :'backupuser_password';
GRANT appowner TO migrator;
ALTER ROLE backupuser SET default_transaction_read_only = on;

SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO appuser, migrator, backupuser', current_database()) \gexec
SELECT format('GRANT CREATE ON DATABASE %I TO appowner', current_database()) \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO appowner, appuser, backupuser;

CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION appowner;
CREATE SCHEMA IF NOT EXISTS portico AUTHORIZATION appowner;
GRANT USAGE ON SCHEMA app, portico TO appuser, backupuser;

-- Temporal keeps its own state on the same server, with a login of its own. Portico neither discovers nor migrates these databases.
\if :with_temporal
  SELECT 'CREATE ROLE temporal' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'temporal') \gexec
  ALTER ROLE temporal LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD :'temporal_password';
  SELECT 'CREATE DATABASE temporal OWNER temporal' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'temporal') \gexec
  SELECT 'CREATE DATABASE temporal_visibility OWNER temporal'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'temporal_visibility') \gexec
  REVOKE ALL ON DATABASE temporal, temporal_visibility FROM PUBLIC;
\endif
