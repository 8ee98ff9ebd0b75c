"""The file by which Hadoop's user has the secret of the trust domain, so that no setting or environment holds it.

Source: ``org.apache.hadoop.security.Credentials``, ``writeTokenStorageFile`` in its format 0 (Writable): magic,
version, the number of tokens, then the number of secret keys with name and value each. Spark looks there before it
looks at its settings (``SecurityManager.getSecretKey``).
"""

from __future__ import annotations

from typing import Final

_MAGIC: Final = b"HDTS\x00"
_NO_TOKENS: Final = b"\x00"
_ONE: Final = b"\x01"
#: ``SecurityManager.SECRET_LOOKUP_KEY``.
_SPARK: Final = b"sparkCookie"
#: Up to here Hadoop's number of variable length is one byte.
_SHORT: Final = 127


def credentials(secret: bytes) -> bytes:
    """Return the file that gives *secret* (at most 127 bytes) to Spark."""
    assert len(secret) <= _SHORT, "a domain's secret is short"
    return _MAGIC + _NO_TOKENS + _ONE + bytes([len(_SPARK)]) + _SPARK + bytes([len(secret)]) + secret
