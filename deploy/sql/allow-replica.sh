#!/bin/sh
# In the development container of the primary, once: a role for the replica, and its way in.
set -eu
psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --command \
  "CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'development'"
echo "host replication replicator all scram-sha-256" >> "$PGDATA/pg_hba.conf"
