"""The provider ``pkcs11``: primary keys in a hardware security module, or any other PKCS#11 token.

A primary key version is one AES-256 key, generated in the token, sensitive and never extractable. How it wraps:

* ``pkcs11-aes-256-gcm``: CKM_AES_GCM in the token, the context as associated data; nonce from the system's generator;
* ``kek-aes-256-gcm``, for tokens without CKM_AES_GCM: CKM_AES_KEY_WRAP (RFC 3394) of one key-encryption key
  (:mod:`redoubt.keys.kek`).

Which one is decided when a version is made and stands in its entry. Class hw needs the setting ``assurance = "hw"`` and
a token that says it is hardware; SoftHSM never is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from redoubt.errors import AssuranceRefused, KeystoreDamaged, ProviderSettingsInvalid, WrapRefused
from redoubt.keys import kek
from redoubt.keys.credentials import read_pin
from redoubt.keys.entries import decode_entry, encode_entry, unused_name
from redoubt.keys.held import HeldProvider
from redoubt.keys.holder import KeyVersion, Unwrapped, Wrapped, check_binding
from redoubt.keys.names import Assurance
from redoubt.keys.pkcs11_keys import decrypt, destroy, encrypt, find, generate, unwrap_kek, wrap_kek
from redoubt.keys.pkcs11_token import Token, TokenFacts
from redoubt.keys.registry import ProviderPlace, held_provider

if TYPE_CHECKING:
    from pkcs11 import SecretKey

KIND: Final = "pkcs11"
MECHANISM: Final = "pkcs11-aes-256-gcm"
_ID_BYTES: Final = 16


class Way(StrEnum):
    """How a version wraps, as its entry records it and the setting ``mechanism`` asks for it."""

    AES_GCM = "aes-gcm"
    AES_KW = "aes-kw"


_NEEDS: Final = {Way.AES_GCM: "AES_GCM", Way.AES_KW: "AES_KEY_WRAP"}


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a version is: the CKA_ID of its key, and the wrapped key-encryption key if there is one."""

    way: Way
    id: bytes
    wrapped_kek: bytes = b""
    check_value: bytes = b""


class TokenHolder:
    """Holds primary keys in a token; see :class:`redoubt.keys.holder.KeyHolder`."""

    def __init__(self, token: Token, *, way: Way | None) -> None:
        """Use *token*; *way* None takes what it can do, AES-GCM first."""
        self._token = token
        self._way = way

    def ready(self) -> None:
        """Log in."""
        with self._token.session():
            pass

    def mechanism(self, version: KeyVersion, entry: bytes) -> str:
        """Return the mechanism that the entry records."""
        return MECHANISM if _decode(version, entry).way is Way.AES_GCM else kek.MECHANISM

    def create(self, version: KeyVersion) -> bytes:
        """Generate a key in the token.

        Raises:
            AssuranceRefused: the key is of class hw and the token is not hardware.
            ProviderSettingsInvalid: the token cannot wrap in the wanted way.
        """
        facts = self._token.facts()
        if version.name.assurance is Assurance.HARDWARE and (reason := why_not_hardware(facts)):
            raise AssuranceRefused(f"{version.name} cannot live in the token {facts.label!r}: {reason}")
        way = choose(facts, self._way)
        identity = os.urandom(_ID_BYTES)
        with self._token.session() as session:
            key = generate(session, identity, unused_name(version), wraps_keys=way is Way.AES_KW)
            if way is Way.AES_GCM:
                entry = _encode(version, _Entry(way, identity))
                check_binding(self, version, entry)
                return entry
            made = kek.KeyEncryptionKey.new(version)
            return _encode(version, _Entry(way, identity, wrap_kek(session, key, made.secret), made.check_value))

    def wrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        """Wrap *keys*, in order."""
        where = _decode(version, entry)
        with self._token.session() as session:
            key = find(session, where.id)
            if where.way is Way.AES_GCM:
                return [encrypt(key, it) for it in keys]
            opened = _open_kek(key, where, version)
        return opened.wrap(keys)

    def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        """Unwrap *keys*, in order."""
        where = _decode(version, entry)
        with self._token.session() as session:
            key = find(session, where.id)
            if where.way is Way.AES_GCM:
                return [decrypt(key, it) for it in keys]
            opened = _open_kek(key, where, version)
        return opened.unwrap(keys)

    def destroy(self, version: KeyVersion, entry: bytes) -> None:
        """Destroy the key in the token."""
        where = _decode(version, entry)
        with self._token.session() as session:
            destroy(session, where.id)

    def probe(self) -> str:
        """Log in and name the token."""
        facts = self._token.facts()
        way = choose(facts, self._way)
        self.ready()
        kind = "hardware" if why_not_hardware(facts) is None else "not hardware"
        return f"token {facts.label!r} ({facts.manufacturer}, {facts.model}, serial {facts.serial}), {kind}, {way}"


def _open_kek(key: SecretKey, where: _Entry, version: KeyVersion) -> kek.KeyEncryptionKey:
    try:
        secret = unwrap_kek(key, where.wrapped_kek)
    except WrapRefused:
        raise KeystoreDamaged(f"the key-encryption key in the books' entry of {version} does not open") from None
    return kek.KeyEncryptionKey.opened(secret, version, check_value=where.check_value)


def why_not_hardware(facts: TokenFacts) -> str | None:
    """Return why a token may not hold keys of class hw, or None if it may."""
    if "softhsm" in f"{facts.manufacturer} {facts.model}".lower():
        return "SoftHSM keeps its keys in files"
    if not facts.hardware:
        return "it does not say that its slot and its keys are hardware (CKF_HW_SLOT, CKF_HW)"
    return None


def choose(facts: TokenFacts, wanted: Way | None) -> Way:
    """Return how new versions wrap in a token; raises ProviderSettingsInvalid if it cannot."""
    able = [way for way in Way if _NEEDS[way] in facts.mechanisms and "AES_KEY_GEN" in facts.mechanisms]
    if not able or (wanted is not None and wanted not in able):
        needed = " or ".join(f"CKM_{_NEEDS[way]}" for way in ([wanted] if wanted else Way))
        raise ProviderSettingsInvalid(f"the token {facts.label!r} does not offer {needed} with CKM_AES_KEY_GEN")
    return wanted or able[0]


def open_pkcs11(settings: Mapping[str, str], place: ProviderPlace) -> HeldProvider:
    """Open the provider of ``config.toml``; the token is asked only when key bytes are needed."""
    module = Path(settings["module"])
    if not module.is_absolute():
        raise ProviderSettingsInvalid("the setting 'module' is not an absolute path")
    if ("pin_file" in settings) == ("pin_fd" in settings):
        raise ProviderSettingsInvalid("set either 'pin_file' or 'pin_fd'")
    pin_file = place.folder / settings["pin_file"] if "pin_file" in settings else None
    descriptor = settings.get("pin_fd")
    if descriptor is not None and not (descriptor.isascii() and descriptor.isdigit() and len(descriptor) < 6):
        raise ProviderSettingsInvalid("the setting 'pin_fd' is not a file descriptor")
    way = settings.get("mechanism")
    if way is not None and way not in set(Way):
        raise ProviderSettingsInvalid(f"the setting 'mechanism' is not one of {', '.join(Way)}")
    assurance = settings.get("assurance", Assurance.DEV.value)
    if assurance not in set(Assurance):
        raise ProviderSettingsInvalid(f"the setting 'assurance' is not one of {', '.join(Assurance)}")
    number = None if descriptor is None else int(descriptor)
    token = Token(module=module, label=settings["token"], pin=lambda: read_pin(file=pin_file, descriptor=number))
    return held_provider(
        KIND,
        settings,
        place,
        TokenHolder(token, way=None if way is None else Way(way)),
        assurances=frozenset({Assurance.DEV, Assurance(assurance)}),
    )


# --- entries ----------------------------------------------------------------------------------------------------------
def _encode(version: KeyVersion, entry: _Entry) -> bytes:
    return encode_entry(KIND, version, entry.way.encode(), entry.id, entry.wrapped_kek, entry.check_value)


def _decode(version: KeyVersion, entry: bytes) -> _Entry:
    way, identity, wrapped_kek, check_value = decode_entry(KIND, version, entry, count=4)
    try:
        return _Entry(Way(way.decode("ascii", errors="replace")), identity, wrapped_kek, check_value)
    except ValueError:
        raise KeystoreDamaged(f"the books' entry of {version} wraps in an unknown way") from None
