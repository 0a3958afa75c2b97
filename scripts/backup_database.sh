#!/usr/bin/env bash
# Back the databases up; arguments are those of `portico backup`.
set -euo pipefail
exec "${PYTHON:-python3}" -m portico backup "$@"
