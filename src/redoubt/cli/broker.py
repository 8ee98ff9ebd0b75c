"""``redoubt broker``: the group, with the commands that each of its modules adds to one app."""

from __future__ import annotations

from redoubt.cli import broker_serve, broker_shares, broker_verify
from redoubt.cli.broker_store import app

__all__ = ["app", "broker_serve", "broker_shares", "broker_verify"]
