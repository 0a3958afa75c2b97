-- The extensions that Portico and its monitoring use, in each database that it serves. Needs a superuser, or a login that may create them.
-- pg_stat_statements counts only where postgresql.conf preloads it (shared_preload_libraries).

CREATE EXTENSION IF NOT EXISTS "uuid-ossp";
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS pg_stat_statements;
