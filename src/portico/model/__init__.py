"""The vocabulary: collections, fields, identities, scopes and pages as frozen values."""
