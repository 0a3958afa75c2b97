"""Scopes: whose documents a call may touch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose documents a call may touch.

    Attributes:
        everything: all tenants (scope ``*``). Then `clients` and `users` are empty.
        clients: the client ids that the call acts for. Empty and not `everything`: nothing but shared collections.
        users: the user ids that the call acts for; empty means every user of `clients`.
    """

    everything: bool = False
    clients: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The part of a scope that changes the statement's text: ``all``, ``client``, ``clients`` or with ``+user``."""
        if self.everything:
            return "all"
        many = "client" if len(self.clients) == 1 else "clients"
        return many + "+user" if self.users else many


EVERYTHING = Scope(everything=True)
