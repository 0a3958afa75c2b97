"""Settings: read once from `portico.yaml` and the environment, checked, and handed on in groups."""

from portico.settings.connection import ConnectionUrl, is_loopback
from portico.settings.databases import Database, Pool, Replica
from portico.settings.describe import Entry, describe
from portico.settings.groups import (
    Auth,
    Cache,
    Changes,
    Cluster,
    Environment,
    Files,
    Function,
    Http,
    Issuer,
    Limits,
    Observe,
    RateLimits,
    Store,
    Transactions,
)
from portico.settings.keyring import Keyring, MasterKey
from portico.settings.load import config_file, load, load_keyring
from portico.settings.pending import set_in_vain
from portico.settings.root import Declaration, Settings, derive_key
from portico.settings.safety import unsafe_reasons
from portico.settings.secrets import Secret

__all__ = [
    "Auth",
    "Cache",
    "Changes",
    "Cluster",
    "ConnectionUrl",
    "Database",
    "Declaration",
    "Entry",
    "Environment",
    "Files",
    "Function",
    "Http",
    "Issuer",
    "Keyring",
    "Limits",
    "MasterKey",
    "Observe",
    "Pool",
    "RateLimits",
    "Replica",
    "Secret",
    "Settings",
    "Store",
    "Transactions",
    "config_file",
    "derive_key",
    "describe",
    "is_loopback",
    "load",
    "load_keyring",
    "set_in_vain",
    "unsafe_reasons",
]
