-- A database for development: extensions, the roles of production with plain passwords, the schemas. Run by a superuser in the database that
-- Portico will serve; it can be run again. Never use it where others reach the server: production-init.sql takes its passwords from files.

\set ON_ERROR_STOP on
\ir extensions.sql

SET password_encryption = 'scram-sha-256';
SELECT 'CREATE ROLE appowner NOLOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'appowner') \gexec
SELECT 'CREATE ROLE appuser LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'appuser') \gexec
SELECT 'CREATE ROLE migrator LOGIN NOINHERIT' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'migrator') \gexec
SELECT 'CREATE ROLE backupuser LOGIN BYPASSRLS' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'backupuser') \gexec

ALTER ROLE appuser PASSWORD 'development';
ALTER ROLE migrator PASSWORD 'development';
ALTER ROLE backupuser PASSWORD 'development';
GRANT appowner TO migrator;

CREATE SCHEMA IF NOT EXISTS app AUTHORIZATION appowner;
CREATE SCHEMA IF NOT EXISTS portico AUTHORIZATION appowner;
SELECT format('GRANT CREATE ON DATABASE %I TO appowner', current_database()) \gexec
