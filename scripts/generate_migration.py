"""Write an Alembic revision of your models, named ``%Y%m%d_%H%M_message``: `generate_migration.py "message"`."""

import subprocess
import sys
from pathlib import Path

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit('Say what it does: generate_migration.py "add invoices"')
    command = [sys.executable, "-m", "alembic", "revision", "--autogenerate", "-m", sys.argv[1]]
    sys.exit(subprocess.run(command, cwd=Path(__file__).parents[1], check=False).returncode)  # noqa: S603 - our own arguments
