#!/usr/bin/env bash
# Write an Alembic revision of your models and add it to git: ./makemigration.sh ["message"]
set -euo pipefail
cd "$(dirname "$0")"
bin=.venv/bin
[ -x "$bin/alembic" ] || bin=$(dirname "$(command -v alembic)")
before=$(ls model_migrations/versions)
"$bin/alembic" revision --autogenerate -m "${1:-migration}"
for file in model_migrations/versions/*.py; do
    [[ $'\n'"$before"$'\n' == *$'\n'"$(basename "$file")"$'\n'* ]] || { git add "$file" 2>/dev/null || true; echo "$file"; }
done
