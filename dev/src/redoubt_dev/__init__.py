"""Simulated evidence for development. A production broker refuses to start where this package can be imported."""

__all__ = ["DevelopmentKey", "SimulatedAttester", "produce", "verify"]

from redoubt_dev.attester import SimulatedAttester
from redoubt_dev.key import DevelopmentKey
from redoubt_dev.simulated import produce, verify
