"""Keys in a PKCS#11 token: made, found, used and destroyed within a session.

Source: PKCS #11 3.1 (OASIS): secret keys 4.10, AES-GCM 6.13.3, AES key wrap 6.13.5. Everything here runs in a block of
:meth:`redoubt.keys.pkcs11_token.Token.session`, which gives the errors of python-pkcs11 their meaning.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from redoubt.crypto.wrap import WRAPPED_BYTES
from redoubt.errors import ProviderSettingsInvalid, WrapRefused
from redoubt.keys.holder import Unwrapped, Wrapped
from redoubt.limits import GCM_NONCE_BYTES

if TYPE_CHECKING:
    from pkcs11 import Session

_KEY_BITS: Final = 256
_TAG_BITS: Final = 128


def generate(session: Session, identity: bytes, label: str, *, wraps_keys: bool) -> Any:
    """Generate an AES-256 key that never leaves the token, to wrap keys or else to encrypt.

    Raises:
        ProviderSettingsInvalid: the token would let it leave.
    """
    from pkcs11 import Attribute, KeyType

    key = session.generate_key(
        KeyType.AES,
        _KEY_BITS,
        id=identity,
        label=label,
        store=True,
        template={
            Attribute.PRIVATE: True,
            Attribute.SENSITIVE: True,
            Attribute.EXTRACTABLE: False,
            Attribute.ENCRYPT: not wraps_keys,
            Attribute.DECRYPT: not wraps_keys,
            Attribute.WRAP: wraps_keys,
            Attribute.UNWRAP: wraps_keys,
            Attribute.SIGN: False,
            Attribute.VERIFY: False,
            Attribute.DERIVE: False,
        },
    )
    # A token may ignore a template; what it made is what counts.
    if not (key[Attribute.ALWAYS_SENSITIVE] and key[Attribute.NEVER_EXTRACTABLE] and key[Attribute.LOCAL]):
        key.destroy()
        raise ProviderSettingsInvalid("the token does not keep the keys that it generates: they could be extracted")
    return key


def find(session: Session, identity: bytes) -> Any:
    """Return the one key with this CKA_ID; raises python-pkcs11's errors if there is none, or several."""
    from pkcs11 import ObjectClass

    return session.get_key(object_class=ObjectClass.SECRET_KEY, id=identity)


def destroy(session: Session, identity: bytes) -> None:
    """Destroy the key with this CKA_ID; none is fine."""
    from pkcs11 import Attribute, ObjectClass

    for key in list(session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.ID: identity})):
        key.destroy()


def encrypt(key: Any, item: Unwrapped) -> bytes:
    """Return nonce, ciphertext and tag of a data key, bound to its context."""
    from pkcs11 import GCMParams, Mechanism

    nonce = os.urandom(GCM_NONCE_BYTES)
    parameters = GCMParams(nonce, item.associated_data, _TAG_BITS)
    return nonce + bytes(key.encrypt(item.secret, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))


def decrypt(key: Any, item: Wrapped) -> bytes:
    """Return the data key in what :func:`encrypt` returned; raises WrapRefused."""
    from pkcs11 import (
        DataInvalid,
        DataLenRange,
        EncryptedDataInvalid,
        EncryptedDataLenRange,
        FunctionFailed,
        GCMParams,
        GeneralError,
        Mechanism,
    )

    if len(item.ciphertext) != WRAPPED_BYTES:
        raise WrapRefused(f"a wrapped key has {WRAPPED_BYTES} bytes, not {len(item.ciphertext)}")
    nonce, rest = item.ciphertext[:GCM_NONCE_BYTES], item.ciphertext[GCM_NONCE_BYTES:]
    parameters = GCMParams(nonce, item.associated_data, _TAG_BITS)
    try:
        return bytes(key.decrypt(rest, mechanism=Mechanism.AES_GCM, mechanism_param=parameters))
    # PKCS#11 says CKR_ENCRYPTED_DATA_INVALID; SoftHSM answers CKR_GENERAL_ERROR, others CKR_FUNCTION_FAILED.
    except (EncryptedDataInvalid, EncryptedDataLenRange, DataInvalid, DataLenRange, GeneralError, FunctionFailed):
        raise WrapRefused("the wrapped key does not open in this context") from None


def wrap_kek(session: Session, key: Any, secret: bytes) -> bytes:
    """Return the key-encryption key *secret* wrapped (RFC 3394) by *key*."""
    from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

    plain = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.TOKEN: False,
            Attribute.SENSITIVE: False,
            Attribute.EXTRACTABLE: True,
            Attribute.VALUE: secret,
        }
    )
    try:
        return bytes(key.wrap_key(plain, mechanism=Mechanism.AES_KEY_WRAP))
    finally:
        plain.destroy()


def unwrap_kek(key: Any, wrapped: bytes) -> bytes:
    """Return the key-encryption key in what :func:`wrap_kek` returned; raises WrapRefused."""
    from pkcs11 import (
        Attribute,
        FunctionFailed,
        GeneralError,
        KeyType,
        Mechanism,
        ObjectClass,
        WrappedKeyInvalid,
        WrappedKeyLenRange,
    )

    try:
        plain = key.unwrap_key(
            ObjectClass.SECRET_KEY,
            KeyType.AES,
            wrapped,
            mechanism=Mechanism.AES_KEY_WRAP,
            store=False,
            template={Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
        )
    except (WrappedKeyInvalid, WrappedKeyLenRange, GeneralError, FunctionFailed):
        raise WrapRefused("the wrapped key-encryption key does not open") from None
    try:
        return bytes(plain[Attribute.VALUE])
    finally:
        plain.destroy()
