"""The provider ``azure``: primary keys in Azure Key Vault or Managed HSM.

Source: the Key Vault REST API, data plane, "Keys" (7.4 and later): Create Key, Wrap Key, Unwrap Key, Delete Key. A
primary key version is one RSA key of 3072 bits that can only wrap and unwrap. RSA-OAEP takes no associated data, so
that it wraps one key-encryption key (:mod:`redoubt.keys.kek`).

Keys of class hw are of type RSA-HSM, and refused if the service made another; in a Managed HSM all are. A token is sent
to the configured vault only, whose name must end in one of Azure's domains, or in the setting ``domain``; an answer
about another key than the one that was asked for is refused.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from redoubt.crypto.strict_json import JSON, from_base64url
from redoubt.errors import (
    AssuranceRefused,
    KeystoreDamaged,
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderKeyMissing,
    ProviderSettingsInvalid,
)
from redoubt.keys import kek
from redoubt.keys.azure_login import IMDS, AzureSession, Login, client_credentials, managed_identity
from redoubt.keys.entries import ascii_field, decode_entry, encode_entry
from redoubt.keys.held import HeldProvider
from redoubt.keys.holder import KeyVersion, Unwrapped, Wrapped
from redoubt.keys.https import Address, Answer, https_client
from redoubt.keys.names import Assurance
from redoubt.keys.registry import ProviderPlace, held_provider

KIND: Final = "azure"
_ALGORITHM: Final = "RSA-OAEP-256"
_KEY_BITS: Final = 3072
_VAULT: Final = "vault.azure.net"
_MANAGED_HSM: Final = "managedhsm.azure.net"
_KID: Final = re.compile(r"[A-Za-z0-9-]{1,127}/[A-Za-z0-9]{1,64}")
_API_VERSION: Final = re.compile(r"7\.[4-9]|20[0-9]{2}-[0-9]{2}-[0-9]{2}")
_DOMAIN: Final = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)*")
_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9.-]{1,253}")


class KeyVaultHolder:
    """Holds primary keys in a vault; see :class:`redoubt.keys.holder.KeyHolder`."""

    def __init__(self, session: AzureSession, address: Address, *, api_version: str, only_hsm: bool) -> None:
        """Use the vault at *address*; *only_hsm*: it is a Managed HSM, which has no other keys."""
        self._session = session
        self._address = address
        self._api_version = api_version
        self._only_hsm = only_hsm

    def ready(self) -> None:
        """Do nothing: the call itself gets a token."""

    def mechanism(self, version: KeyVersion, entry: bytes) -> str:
        """Return the one mechanism there is."""
        return kek.MECHANISM

    def create(self, version: KeyVersion) -> bytes:
        """Make an RSA key and wrap a new key-encryption key with it, which must open again.

        Raises:
            AssuranceRefused: the key is of class hw and the service made one in software.
        """
        hardware = version.name.assurance is Assurance.HARDWARE
        wanted = "RSA-HSM" if hardware or self._only_hsm else "RSA"
        # Names allow no underscore and 127 letters; the tags say whose key it is.
        name = f"redoubt-{secrets.token_hex(16)}"
        body: dict[str, JSON] = {
            "kty": wanted,
            "key_size": _KEY_BITS,
            "key_ops": ["wrapKey", "unwrapKey"],
            "attributes": {"enabled": True},
            "tags": {"redoubt-key": str(version.name), "redoubt-version": str(version.number)},
        }
        answer = self._expect(self._call("POST", f"{name}/create", body), "create a key")
        key = answer.get("key")
        made = key if isinstance(key, Mapping) else {}
        kid = self._parse_kid(made.get("kid"))
        if kid.partition("/")[0] != name:
            raise ProviderAnswerInvalid("the vault made a key of another name than it was asked for")
        if made.get("kty") != wanted:
            if hardware:
                raise AssuranceRefused(f"{version.name} cannot live in this vault: it made a key in software")
            raise ProviderAnswerInvalid("the vault made a key of another type than it was asked for")
        new = kek.KeyEncryptionKey.new(version)
        wrapped = self._operate(kid, "wrapkey", new.secret)
        if wrapped is None:
            raise ProviderAnswerInvalid("the vault does not wrap with the key that it made")
        entry = encode_entry(KIND, version, kid.encode(), wrapped, new.check_value)
        self._open(version, entry)
        return entry

    def wrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        """Wrap *keys*, in order."""
        return self._open(version, entry).wrap(keys)

    def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        """Unwrap *keys*, in order."""
        return self._open(version, entry).unwrap(keys)

    def destroy(self, version: KeyVersion, entry: bytes) -> None:
        """Delete the key; a vault with soft-delete keeps it for its retention time, or until it is purged."""
        name = self._decode(version, entry)[0].partition("/")[0]
        answer = self._call("DELETE", name)
        if answer.status not in (404, 409):  # gone, or deleted and not yet purged
            self._expect(answer, "delete a key")

    def probe(self) -> str:
        """List one key, and name the vault."""
        self._expect(self._call("GET", "", query="&maxresults=1"), "list keys")
        return f"{self._address}, {'Managed HSM' if self._only_hsm else 'Key Vault'}, API {self._api_version}"

    def _open(self, version: KeyVersion, entry: bytes) -> kek.KeyEncryptionKey:
        kid, wrapped, check_value = self._decode(version, entry)
        secret = self._operate(kid, "unwrapkey", wrapped)
        if secret is None:
            raise KeystoreDamaged(f"the key-encryption key in the books' entry of {version} does not open")
        return kek.KeyEncryptionKey.opened(secret, version, check_value=check_value)

    def _decode(self, version: KeyVersion, entry: bytes) -> tuple[str, bytes, bytes]:
        kid, wrapped, check_value = decode_entry(KIND, version, entry, count=3)
        text = ascii_field(kid, version=version)
        if not _KID.fullmatch(text):
            raise KeystoreDamaged(f"the books' entry of {version} names no key of a vault")
        return text, wrapped, check_value

    def _operate(self, kid: str, operation: str, value: bytes) -> bytes | None:
        """Return the result of wrapkey or unwrapkey; None if the vault says that *value* is not good for it."""
        spelt = base64.urlsafe_b64encode(value).rstrip(b"=").decode()
        answer = self._call("POST", f"{kid}/{operation}", {"alg": _ALGORITHM, "value": spelt})
        if answer.status == 400:
            return None
        body = self._expect(answer, operation)
        if self._parse_kid(body.get("kid")) != kid:
            raise ProviderAnswerInvalid(f"the vault answered {operation} with another key")
        return from_base64url(body.get("value"), what="a value of the vault", refusal=ProviderAnswerInvalid)

    def _call(self, method: str, path: str, body: Mapping[str, JSON] | None = None, *, query: str = "") -> Answer:
        below = f"/keys/{path}" if path else "/keys"
        return self._session.call(method, f"{below}?api-version={self._api_version}{query}", body)

    def _parse_kid(self, kid: JSON) -> str:
        """Return ``name/version`` of a key identifier of this vault."""
        text = kid if isinstance(kid, str) else ""
        below = text.removeprefix(f"{self._address}/keys/")
        if below == text or not _KID.fullmatch(below):
            raise ProviderAnswerInvalid("the vault names no key of its own")
        return below

    def _expect(self, answer: Answer, what: str) -> Mapping[str, JSON]:
        if answer.status in (200, 201):
            return answer.body
        error = answer.body.get("error")
        inner = error.get("innererror") if isinstance(error, Mapping) else None
        code = inner.get("code") if isinstance(inner, Mapping) else None
        if answer.status == 404 or code in ("KeyDisabled", "KeyNotYetValid", "KeyExpired"):
            raise ProviderKeyMissing(f"the vault cannot {what}: it has no such key, or it is disabled")
        if answer.status == 403:
            raise ProviderDenied(f"the vault does not allow to {what}")
        raise ProviderAnswerInvalid(f"the vault cannot {what} (status {answer.status})")


def open_azure(settings: Mapping[str, str], place: ProviderPlace, *, imds: tuple[str, int] = IMDS) -> HeldProvider:
    """Open the provider of ``config.toml``; the vault is asked only when key bytes are needed."""
    address = Address.parse(settings["url"])
    api_version = settings.get("api_version", "7.4")
    if not _API_VERSION.fullmatch(api_version):
        raise ProviderSettingsInvalid("the setting 'api_version' is not one from 7.4 on")
    session, domain = vault_session(address, settings, place, imds=imds)
    managed_hsm = domain == _MANAGED_HSM or settings.get("service") == "managed-hsm"
    holder = KeyVaultHolder(session, address, api_version=api_version, only_hsm=managed_hsm)
    return held_provider(KIND, settings, place, holder, assurances=frozenset(Assurance))


def vault_session(
    address: Address, settings: Mapping[str, str], place: ProviderPlace, *, imds: tuple[str, int] = IMDS
) -> tuple[AzureSession, str]:
    """Return a session of the vault at *address*, and the domain that it lies in; nothing is sent yet.

    Raises:
        ProviderSettingsInvalid: the address is none of a vault, or the settings of the login contradict each other.
    """
    if address.path:
        raise ProviderSettingsInvalid("the setting 'url' has a path; it is the address of the vault itself")
    domain = _domain(address, settings.get("domain"))
    ca_file = place.folder / settings["ca"] if "ca" in settings else None
    login = _login(settings, place, resource=f"https://{domain}", imds=imds)
    return AzureSession(https_client(address, ca_file=ca_file), login), domain


def _domain(address: Address, configured: str | None) -> str:
    """Return the domain that the vault's host lies in: which hosts may be sent a token, and what it is for."""
    if configured is not None and not _DOMAIN.fullmatch(configured):
        raise ProviderSettingsInvalid("the setting 'domain' is not a domain in lower case")
    allowed = (configured,) if configured is not None else (_VAULT, _MANAGED_HSM)
    for domain in allowed:
        if address.host == configured or address.host.endswith(f".{domain}"):
            return domain
    raise ProviderSettingsInvalid(
        f"the vault's host does not end in {' or '.join(allowed)}",
        hint="If it is a vault of another cloud, set its domain: --set domain=vault.azure.cn, for example.",
    )


def _login(settings: Mapping[str, str], place: ProviderPlace, *, resource: str, imds: tuple[str, int]) -> Login:
    for name in ("tenant", "client_id"):
        if name in settings and not _IDENTIFIER.fullmatch(settings[name]):
            raise ProviderSettingsInvalid(f"the setting {name!r} is not an identifier")
    if settings.get("service") not in (None, "key-vault", "managed-hsm"):
        raise ProviderSettingsInvalid("the setting 'service' is not key-vault or managed-hsm")
    client_id = settings.get("client_id")
    if "secret_file" not in settings:
        if "tenant" in settings or "authority" in settings:
            raise ProviderSettingsInvalid("'tenant' and 'authority' go with 'secret_file'")
        return managed_identity(resource=resource, client_id=client_id, imds=imds)
    if client_id is None or "tenant" not in settings:
        raise ProviderSettingsInvalid("'secret_file' needs 'tenant' and 'client_id'")
    authority = settings.get("authority", "https://login.microsoftonline.com")
    ca_file = place.folder / settings["ca"] if "ca" in settings else None
    address = Address.parse(authority, what="the setting 'authority'")
    if address.path:
        raise ProviderSettingsInvalid("the setting 'authority' has a path")
    return client_credentials(
        client=https_client(address, ca_file=ca_file),
        tenant=settings["tenant"],
        client_id=client_id,
        secret=place.folder / settings["secret_file"],
        resource=resource,
    )
