#!/usr/bin/env bash
# Apply every pending migration of the collections; arguments are those of `portico migrate up`.
set -euo pipefail
exec "${PYTHON:-python3}" "$(dirname "$0")/run_migrations.py" "$@"
