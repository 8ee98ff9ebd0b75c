"""What the books keep of a key that a token or service holds: how to find it there.

An *entry* is a field list: label, key name, version, then the holder's own fields. Name and version are compared
whenever it is read, so that a row copied to another key or version is damage, not another key.
"""

from __future__ import annotations

import secrets
import struct

from redoubt.crypto.encoding import decode_fields, encode_fields
from redoubt.errors import HeaderInvalid, KeystoreDamaged
from redoubt.keys.holder import KeyVersion

_VERSION = struct.Struct(">I")


def encode_entry(kind: str, version: KeyVersion, *fields: bytes) -> bytes:
    """Return the entry of *version*."""
    return encode_fields(_entry_label(kind), str(version.name).encode(), _VERSION.pack(version.number), *fields)


def decode_entry(kind: str, version: KeyVersion, entry: bytes, *, count: int) -> tuple[bytes, ...]:
    """Return the *count* fields of an entry.

    Raises:
        KeystoreDamaged: it is not an entry of this kind of provider for this version.
    """
    try:
        label, name, number, *fields = decode_fields(entry, count=count + 3, what="the entry")
    except HeaderInvalid as error:
        raise KeystoreDamaged(f"the books' entry of {version} is malformed: {error.what}") from None
    if (label, name, number) != (_entry_label(kind), str(version.name).encode(), _VERSION.pack(version.number)):
        raise KeystoreDamaged(f"the books' entry of {version} does not belong there")
    return tuple(fields)


def _entry_label(kind: str) -> bytes:
    return f"redoubt/{kind}-key/v1".encode()


def ascii_field(field: bytes, *, version: KeyVersion) -> str:
    """Return a field of an entry that is ASCII text; raises KeystoreDamaged."""
    try:
        return field.decode("ascii")
    except UnicodeDecodeError:
        raise KeystoreDamaged(f"the books' entry of {version} is malformed: a name is not ASCII") from None


def unused_name(version: KeyVersion) -> str:
    """Return a name for the key of *version* at its holder: readable, and never used before.

    It is random at its end because a crash may leave a key without an entry, and must not be taken for the next one.
    """
    name = version.name
    return f"redoubt-{name.namespace}-{name.name}-{name.assurance}-{version.number}-{secrets.token_hex(8)}"
