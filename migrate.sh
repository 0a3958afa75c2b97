#!/usr/bin/env bash
# Bring your models' tables up to date: ./migrate.sh [revision], by default the newest.
set -euo pipefail
cd "$(dirname "$0")"
bin=.venv/bin
[ -x "$bin/alembic" ] || bin=$(dirname "$(command -v alembic)")
exec "$bin/alembic" upgrade "${1:-head}"
