"""Real servers for tests, each on a free port and in a folder of its own, gone when the tests are."""
