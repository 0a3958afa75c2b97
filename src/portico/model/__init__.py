"""The vocabulary: frozen types that every other package speaks in."""
