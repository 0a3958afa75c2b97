"""The built-in collections, declared once, and their migrations."""
