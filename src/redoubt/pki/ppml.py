"""The files that only BigDL PPML's scripts wanted: ``server.csr``, and a password beside the key that opens it.

Source: BigDL PPML's scripts ``generate-keys.sh`` and ``generate-password.sh``. ``key.txt`` and ``output.bin`` stand in
one folder, so they hide the password from nobody; they exist because submit lines recover it with
``openssl rsautl -inkey key.txt -decrypt``, which knows PKCS #1 v1.5 alone.
"""

from __future__ import annotations

from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from redoubt.pki.internal import ServerIdentity

PASSWORD_KEY_FILE: Final = "key.txt"  # noqa: S105 - a name
PASSWORD_FILE: Final = "output.bin"  # noqa: S105 - a name
_BITS: Final = 3072


def wrapped_password(password: str) -> dict[str, bytes]:
    """Return ``key.txt``, a new key, and ``output.bin``, the *password* encrypted for it."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    return {
        PASSWORD_KEY_FILE: key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        PASSWORD_FILE: key.public_key().encrypt(password.encode(), padding.PKCS1v15()),
    }


def signing_request(server: ServerIdentity) -> bytes:
    """Return a request (PEM) by which another CA can certify the same key for the same hosts."""
    leaf = server.chain[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(leaf.subject)
        .add_extension(names, critical=False)
        .sign(server.key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )
