"""Datasets that programs make, and which data keys are theirs.

A manifest cannot name a dataset that does not exist yet. A grant to ``create`` in a dataset D of the manifest lets a
program make new ones, which belong to D: what a grant on D allows, it allows for them. They are no weaker guarded than
D, since a new dataset's id is chosen by whoever makes it and may well be that of a dataset that exists: only data keys
that were made for it here are released, whatever else is wrapped under the same primary key with the same ids.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from redoubt.broker.ports import CreatedDatasets
from redoubt.errors import GrantRefused
from redoubt.keys.types import DataKey

_LABEL: Final = b"redoubt created data key v1"


def check_value(key: DataKey) -> bytes:
    """Return what tells this data key from every other one, without telling the key: HMAC-SHA-256 under it."""
    return hmac.digest(key.secret, _LABEL + key.dataset_id.bytes + key.id.bytes, "sha256")


def check_made(created: CreatedDatasets, keys: Sequence[DataKey]) -> None:
    """Return if every one of *keys* was made for its dataset; raises GrantRefused."""
    for key in keys:
        found = created.check_value(key.dataset_id, key.id)
        if found is None or not hmac.compare_digest(found, check_value(key)):
            raise GrantRefused(f"the data key {key.id} was not made for {key.dataset_id}, which a program created")
