"""`portico seed` by its familiar name: `populate_test_data.py --size small|medium|large`."""

import sys

from portico.cli import main

if __name__ == "__main__":
    main(["seed", *sys.argv[1:]])
