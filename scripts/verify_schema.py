"""`portico verify-schema` by its familiar name: compares the databases with what is declared."""

import sys

from portico.cli import main

if __name__ == "__main__":
    main(["verify-schema", *sys.argv[1:]])
