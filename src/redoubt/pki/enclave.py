"""Keys that sign SGX enclaves: RSA-3072 with the public exponent 3, and the MRSIGNER that follows from one.

Source: Intel SDM, volume 3D, sections 37.14 (SIGSTRUCT) and 38.4.1 (MRSIGNER). The PEM is PKCS #1, which every
signing tool reads, those of 2020 too.
"""

from __future__ import annotations

import hashlib
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from redoubt.errors import EnclaveKeyInvalid

#: The name of its file, and of its entry in a Secret.
ENCLAVE_KEY: Final = "enclave-key.pem"
_BITS: Final = 3072
_EXPONENT: Final = 3


def make_enclave_key() -> bytes:
    """Return a new signing key, PEM."""
    return _pem(rsa.generate_private_key(public_exponent=_EXPONENT, key_size=_BITS))


def verify_enclave_key(text: bytes) -> bytes:
    """Return *text*, the PEM of a key that SGX takes, as this module writes it.

    Raises:
        EnclaveKeyInvalid: it is none.
    """
    return _pem(_load(text))


def mrsigner(text: bytes) -> str:
    """Return what quotes say of enclaves that this key (PEM) signed, hexadecimal; raises EnclaveKeyInvalid."""
    modulus = _load(text).public_key().public_numbers().n
    return hashlib.sha256(modulus.to_bytes(_BITS // 8, "little")).hexdigest()


def _load(text: bytes) -> rsa.RSAPrivateKey:
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise EnclaveKeyInvalid("the file is not a private key in PEM without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise EnclaveKeyInvalid("the key is not an RSA key")
    exponent = key.public_key().public_numbers().e
    if (key.key_size, exponent) != (_BITS, _EXPONENT):
        raise EnclaveKeyInvalid(f"the key has {key.key_size} bits and the exponent {exponent}")
    return key


def _pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
