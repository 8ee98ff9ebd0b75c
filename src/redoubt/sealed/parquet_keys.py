"""Keys of Parquet files: key material in the form of Parquet's key tools (``PKMT1``), wrapped under a data key.

The JSON lies in the file and names the master key ``<dataset id>/<data key id>/<label>``; the data key's own wrapped
record lies beside the data as for every sealed dataset, so re-wrapping touches no file. KMS instance names in a file
are ignored: a file does not say where keys live. See ``docs/format.md``, "Parquet tables".
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from redoubt.crypto.encoding import encode_fields
from redoubt.crypto.wrap import subkey, unwrap_key, wrap_key
from redoubt.errors import IdentityMismatch, KeyError_, WrapRefused
from redoubt.keys.types import DataKey
from redoubt.limits import DATA_KEY_BYTES

MAX_KEY_MATERIAL_BYTES: Final = 2048
_CONTEXT_LABEL = b"redoubt/parquet-dek/v1"
_SUBKEY_LABEL = "parquet-key-wrap"
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_MASTER_KEY = re.compile(rf"({_UUID})/({_UUID})/(footer|column)")


class Label(StrEnum):
    """What a wrapped key encrypts: the footer and every column without a key of its own, or one column."""

    FOOTER = "footer"
    COLUMN = "column"


@dataclass(frozen=True, slots=True)
class MasterKeyId:
    """What Parquet's key tools call the id of a master key."""

    dataset_id: UUID
    data_key_id: UUID
    label: Label

    def __str__(self) -> str:
        return f"{self.dataset_id}/{self.data_key_id}/{self.label}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse an id; raises KeyError_ if it is none of Redoubt's."""
        match = _MASTER_KEY.fullmatch(text)
        if match is None:
            raise KeyError_("the file names a master key that is none of Redoubt's")
        return cls(UUID(match[1]), UUID(match[2]), Label(match[3]))

    def context(self) -> bytes:
        """Return what a wrap under this key authenticates."""
        return encode_fields(_CONTEXT_LABEL, self.dataset_id.bytes, self.data_key_id.bytes, self.label.encode())


def new_dek() -> bytes:
    """Return a fresh key for one file or one column."""
    return os.urandom(DATA_KEY_BYTES)


def wrap_dek(dek: bytes, *, data_key: DataKey, label: Label) -> str:
    """Return *dek* wrapped for files of the data key's dataset, in base64."""
    context = MasterKeyId(data_key.dataset_id, data_key.id, label).context()
    wrapping_key = subkey(data_key.secret, label=_SUBKEY_LABEL)
    return base64.b64encode(wrap_key(dek, wrapping_key=wrapping_key, associated_data=context)).decode()


def unwrap_dek(wrapped: str, *, data_key: DataKey, label: Label) -> bytes:
    """Return the key that :func:`wrap_dek` wrapped.

    Raises:
        WrapRefused: it was changed, or wrapped for another dataset, data key or use.
    """
    try:
        raw = base64.b64decode(wrapped, validate=True)
    except (binascii.Error, ValueError):
        raise WrapRefused("a Parquet file's wrapped key is not base64") from None
    context = MasterKeyId(data_key.dataset_id, data_key.id, label).context()
    return unwrap_key(raw, wrapping_key=subkey(data_key.secret, label=_SUBKEY_LABEL), associated_data=context)


def encode_material(dek: bytes, *, data_key: DataKey) -> bytes:
    """Return the key metadata of a file whose footer key is *dek*."""
    return json.dumps(
        {
            "keyMaterialType": "PKMT1",
            "internalStorage": True,
            "isFooterKey": True,
            "kmsInstanceID": "DEFAULT",
            "kmsInstanceURL": "DEFAULT",
            "masterKeyID": str(MasterKeyId(data_key.dataset_id, data_key.id, Label.FOOTER)),
            "wrappedDEK": wrap_dek(dek, data_key=data_key, label=Label.FOOTER),
            "doubleWrapping": False,
        },
        separators=(",", ":"),
    ).encode()


def parse_footer_material(raw: bytes, *, dataset_id: UUID) -> tuple[MasterKeyId, str]:
    """Return (master key id, wrapped key) of a file's key metadata.

    Raises:
        KeyError_: it is not key material as Redoubt writes it.
        IdentityMismatch: it belongs to another dataset.
    """
    if len(raw) > MAX_KEY_MATERIAL_BYTES:
        raise KeyError_(f"a Parquet file's key metadata is longer than {MAX_KEY_MATERIAL_BYTES} bytes")
    try:
        material = json.loads(raw)
        fixed = {"keyMaterialType": "PKMT1", "internalStorage": True, "isFooterKey": True, "doubleWrapping": False}
        if any(material[name] != value for name, value in fixed.items()):
            raise KeyError_("a Parquet file's key metadata is of another kind than Redoubt writes")
        text, wrapped = material["masterKeyID"], material["wrappedDEK"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise KeyError_("a Parquet file's key metadata is not key material") from None
    if not isinstance(text, str) or not isinstance(wrapped, str):
        raise KeyError_("a Parquet file's key metadata is not key material")
    key_id = MasterKeyId.parse(text)
    if key_id.label is not Label.FOOTER:
        raise KeyError_("a Parquet file's key metadata contradicts itself")
    if key_id.dataset_id != dataset_id:
        raise IdentityMismatch("the file's keys belong to another dataset")
    return key_id, wrapped
