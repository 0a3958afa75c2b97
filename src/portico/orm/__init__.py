"""The library for services that hold their own sessions."""
