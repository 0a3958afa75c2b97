"""Sample data for the built-in collections: believable, as much as is asked for, and the same for the same seed."""
