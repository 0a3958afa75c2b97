"""`portico migrate up` by its familiar name."""

import sys

from portico.cli import main

if __name__ == "__main__":
    main(["migrate", "up", *sys.argv[1:]])
