"""The provider ``ehsm``: primary keys in Intel eHSM-KMS, which upstream archived in July 2024.

Source: "eHSM REST API Reference" (intel/ehsm, docs/API_Reference.md): CreateKey, Encrypt, Decrypt, DeleteKey, ListKey.
A primary key version is one key of spec EH_AES_GCM_256 that the service made; data keys are wrapped in its enclave, the
context as ``aad``. Its keys **expire**, after a year by default, and are deleted ten days later: rotate and re-wrap
before that.

Class dev only: nothing on this connection proves that an enclave answers, and its answers about keys are not signed, so
that TLS alone protects them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Final

from redoubt.crypto.strict_json import JSON, from_base64
from redoubt.crypto.wrap import WRAPPED_BYTES
from redoubt.errors import (
    KeystoreDamaged,
    ProviderAnswerInvalid,
    ProviderKeyMissing,
    ProviderSettingsInvalid,
    WrapRefused,
)
from redoubt.keys.credentials import read_credential
from redoubt.keys.ehsm_wire import APPID, EhsmClient
from redoubt.keys.entries import ascii_field, decode_entry, encode_entry
from redoubt.keys.held import HeldProvider
from redoubt.keys.holder import KeyVersion, Unwrapped, Wrapped, check_binding
from redoubt.keys.https import Address, https_client
from redoubt.keys.names import Assurance
from redoubt.keys.registry import ProviderPlace, held_provider
from redoubt.limits import DATA_KEY_BYTES

KIND: Final = "ehsm"
MECHANISM: Final = "ehsm-aes-256-gcm"
_KEYID: Final = re.compile(r"[a-z0-9]{8}(?:-[a-z0-9]{4}){3}-[a-z0-9]{12}")


class EhsmHolder:
    """Holds primary keys in an eHSM; see :class:`redoubt.keys.holder.KeyHolder`."""

    def __init__(self, client: EhsmClient, *, place: str) -> None:
        """Use *client*; *place* names the service in what :meth:`probe` returns."""
        self._client = client
        self._place = place

    def ready(self) -> None:
        """Do nothing: every call is signed by itself."""

    def mechanism(self, version: KeyVersion, entry: bytes) -> str:
        """Return the one mechanism there is."""
        return MECHANISM

    def create(self, version: KeyVersion) -> bytes:
        """Make a key, and check that it binds contexts."""
        wanted = {"keyspec": "EH_AES_GCM_256", "origin": "EH_INTERNAL_KEY", "keyusage": "EH_KEYUSAGE_ENCRYPT_DECRYPT"}
        keyid = self._client.call("CreateKey", wanted).get("keyid")
        if not isinstance(keyid, str) or not _KEYID.fullmatch(keyid):
            raise ProviderAnswerInvalid("the service named no key that it made")
        entry = encode_entry(KIND, version, keyid.encode())
        check_binding(self, version, entry)
        return entry

    def wrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        """Wrap *keys*, in order, one call each."""
        keyid = _keyid(version, entry)
        wrapped = []
        for it in keys:
            aad, plaintext = _base64(it.associated_data), _base64(it.secret)
            result = self._client.call("Encrypt", {"keyid": keyid, "plaintext": plaintext, "aad": aad})
            wrapped.append(_bytes(result, "ciphertext", WRAPPED_BYTES))
        return wrapped

    def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        """Unwrap *keys*, in order, one call each; the same ciphertext and context once."""
        keyid = _keyid(version, entry)
        secrets = {it: self._decrypt(keyid, it) for it in dict.fromkeys(keys)}
        return [secrets[it] for it in keys]

    def destroy(self, version: KeyVersion, entry: bytes) -> None:
        """Delete the key."""
        try:
            self._client.call("DeleteKey", {"keyid": _keyid(version, entry)})
        except ProviderKeyMissing:
            return

    def probe(self) -> str:
        """List the application's keys, and name the service."""
        found = self._client.call("ListKey", {}).get("list")
        if not isinstance(found, list):
            raise ProviderAnswerInvalid("the service does not list its keys")
        return f"{self._place}, eHSM-KMS (archived upstream), {len(found)} key(s)"

    def _decrypt(self, keyid: str, key: Wrapped) -> bytes:
        if len(key.ciphertext) != WRAPPED_BYTES:
            raise WrapRefused(f"a wrapped key has {WRAPPED_BYTES} bytes, not {len(key.ciphertext)}")
        payload = {"keyid": keyid, "ciphertext": _base64(key.ciphertext), "aad": _base64(key.associated_data)}
        # A failed tag has no code of its own: the service says the same of whatever its enclave refuses.
        result = self._client.call("Decrypt", payload, refusal=WrapRefused)
        return _bytes(result, "plaintext", DATA_KEY_BYTES)


def open_ehsm(settings: Mapping[str, str], place: ProviderPlace) -> HeldProvider:
    """Open the provider of ``config.toml``; the service is asked only when key bytes are needed."""
    address = Address.parse(settings["url"])
    appid = settings["appid"]
    if not APPID.fullmatch(appid):
        raise ProviderSettingsInvalid("the setting 'appid' is not an identifier")
    ca_file = place.folder / settings["ca"] if "ca" in settings else None
    key_file = place.folder / settings["apikey_file"]
    client = EhsmClient(
        https_client(address, ca_file=ca_file),
        base=address.path,
        appid=appid,
        api_key=lambda: read_credential(key_file, what="the API key file"),
    )
    holder = EhsmHolder(client, place=str(address))
    return held_provider(KIND, settings, place, holder, assurances=frozenset({Assurance.DEV}))


def _keyid(version: KeyVersion, entry: bytes) -> str:
    (keyid,) = decode_entry(KIND, version, entry, count=1)
    text = ascii_field(keyid, version=version)
    if not _KEYID.fullmatch(text):
        raise KeystoreDamaged(f"the books' entry of {version} names no key of an eHSM")
    return text


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(result: Mapping[str, JSON], name: str, length: int) -> bytes:
    data = from_base64(result.get(name), what=f"the {name} of the service", refusal=ProviderAnswerInvalid)
    if len(data) != length:
        raise ProviderAnswerInvalid(f"the service returned a {name} of {len(data)} bytes")
    return data
