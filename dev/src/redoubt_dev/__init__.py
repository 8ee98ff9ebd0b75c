"""Simulated evidence for development. A production broker refuses to start where this package can be imported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from redoubt_dev.attester import SimulatedAttester
from redoubt_dev.key import DevelopmentKey
from redoubt_dev.simulated import produce, verify

if TYPE_CHECKING:
    from redoubt_dev.broker import DevelopmentBroker

__all__ = ["DevelopmentBroker", "DevelopmentKey", "SimulatedAttester", "produce", "verify"]


def __getattr__(name: str) -> Any:
    # The broker needs the extra `broker`, and half a second to import: only who uses it pays.
    if name != "DevelopmentBroker":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from redoubt_dev.broker import DevelopmentBroker

    return DevelopmentBroker
