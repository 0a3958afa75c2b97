#!/bin/sh
# In the development container of the replica: copy the primary the first time, then follow it.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  pg_basebackup --pgdata "$PGDATA" --host postgres --username replicator --write-recovery-conf --wal-method stream --checkpoint fast
  chmod 0700 "$PGDATA"
fi
exec postgres
