"""One folder for each engine. `base` is the contract; the engines do not know each other."""
