"""Portico: one HTTP door between microservices and their databases."""

__version__ = "0.1.0"
