"""The provider ``vault``: primary keys in the Transit engine of HashiCorp Vault or OpenBao.

Source: the API documentation of the Transit secrets engine (``/transit/keys``, ``/encrypt``, ``/decrypt``, batches,
``associated_data``). A primary key version is one Transit key of type ``aes256-gcm96``, neither derived nor exportable.
Data keys are wrapped with AES-256-GCM in the service, the context as associated data, a batch in one request.

Whether the service knows ``associated_data`` is tried when a version is made: an older one ignores it in silence. A
record keeps the ciphertext without its spelling: the Transit key's own version (four bytes), nonce, ciphertext, tag.

Class dev only: Transit keeps its keys in software.
"""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from redoubt.crypto.strict_json import JSON, from_base64
from redoubt.crypto.wrap import WRAPPED_BYTES
from redoubt.errors import (
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderKeyMissing,
    ProviderSettingsInvalid,
    WrapRefused,
)
from redoubt.keys.entries import ascii_field, decode_entry, encode_entry, unused_name
from redoubt.keys.held import HeldProvider
from redoubt.keys.holder import KeyVersion, Unwrapped, Wrapped, check_binding
from redoubt.keys.https import Address, Answer, https_client
from redoubt.keys.names import Assurance
from redoubt.keys.registry import ProviderPlace, held_provider
from redoubt.keys.vault_login import Login, VaultSession, approle, kubernetes, token_file
from redoubt.limits import DATA_KEY_BYTES, MAX_TRANSIT_BATCH

KIND: Final = "vault"
MECHANISM: Final = "vault-transit-aes256-gcm96"
_TYPE: Final = "aes256-gcm96"
_CIPHERTEXT: Final = re.compile(r"vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/=]+)")
_VERSION = struct.Struct(">I")
_MOUNT: Final = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


class TransitHolder:
    """Holds primary keys in a Transit engine; see :class:`redoubt.keys.holder.KeyHolder`."""

    def __init__(self, session: VaultSession, *, mount: str, place: str) -> None:
        """Use the Transit engine at *mount*; *place* names the service in what :meth:`probe` returns."""
        self._session = session
        self._mount = mount
        self._place = place

    def ready(self) -> None:
        """Do nothing: the call itself logs in."""

    def mechanism(self, version: KeyVersion, entry: bytes) -> str:
        """Return the one mechanism there is."""
        return MECHANISM

    def create(self, version: KeyVersion) -> bytes:
        """Make a Transit key, and check what was made and that it binds contexts."""
        name = unused_name(version)
        wanted: dict[str, JSON] = {
            "type": _TYPE,
            "derived": False,
            "exportable": False,
            "allow_plaintext_backup": False,
        }
        self._expect(self._call("POST", f"keys/{name}", wanted), "create a key", statuses=(200, 204))
        made = self._expect(self._call("GET", f"keys/{name}"), "read a key")
        if made.get("name") != name or any(made.get(field) != value for field, value in wanted.items()):
            raise ProviderAnswerInvalid("the service made another key than it was asked for")
        entry = encode_entry(KIND, version, name.encode())
        check_binding(self, version, entry)
        return entry

    def wrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Unwrapped]) -> Sequence[bytes]:
        """Wrap *keys*, in order."""
        path = f"encrypt/{_name(version, entry)}"
        items = [{"plaintext": _base64(it.secret), "associated_data": _base64(it.associated_data)} for it in keys]
        return [_parse_ciphertext(it.get("ciphertext")) for it in self._batches(path, items)]

    def unwrap(self, version: KeyVersion, entry: bytes, keys: Sequence[Wrapped]) -> Sequence[bytes]:
        """Unwrap *keys*, in order."""
        path = f"decrypt/{_name(version, entry)}"
        items = [
            {"ciphertext": _spell_ciphertext(it.ciphertext), "associated_data": _base64(it.associated_data)}
            for it in keys
        ]
        return [_secret(it) for it in self._batches(path, items)]

    def destroy(self, version: KeyVersion, entry: bytes) -> None:
        """Allow the deletion of the Transit key, and delete it."""
        name = _name(version, entry)
        try:
            allowed = self._call("POST", f"keys/{name}/config", {"deletion_allowed": True})
            self._expect(allowed, "allow the deletion of a key", statuses=(200, 204))
            self._expect(self._call("DELETE", f"keys/{name}"), "delete a key", statuses=(200, 204))
        except ProviderKeyMissing:
            return

    def probe(self) -> str:
        """Look the token up, and name the service."""
        answer = self._session.call("GET", "/v1/auth/token/lookup-self")
        data = answer.body.get("data")
        if answer.status != 200 or not isinstance(data, Mapping):
            raise ProviderAnswerInvalid("the service does not know its own token")
        ttl = data.get("ttl")
        life = f"for {ttl} s" if type(ttl) is int and ttl > 0 else "without end"
        return f"{self._place}, Transit at {self._mount!r}, logged in {life}"

    def _call(self, method: str, path: str, body: Mapping[str, JSON] | None = None) -> Answer:
        return self._session.call(method, f"/v1/{self._mount}/{path}", body)

    def _batches(self, path: str, items: Sequence[Mapping[str, JSON]]) -> list[Mapping[str, JSON]]:
        results: list[Mapping[str, JSON]] = []
        for start in range(0, len(items), MAX_TRANSIT_BATCH):
            batch = items[start : start + MAX_TRANSIT_BATCH]
            answer = self._call("POST", path, {"batch_input": batch})
            if answer.status == 400 and "data" in answer.body:  # one of the items, or each, failed
                raise WrapRefused("the wrapped key does not open in this context")
            results += _batch(self._expect(answer, path.partition("/")[0]), len(batch))
        return results

    def _expect(self, answer: Answer, what: str, *, statuses: Sequence[int] = (200,)) -> Mapping[str, JSON]:
        """Return the ``data`` of an answer with one of these *statuses*."""
        if answer.status in statuses:
            data = answer.body.get("data")
            return data if isinstance(data, Mapping) else {}
        errors = answer.body.get("errors")
        said = " ".join(it for it in errors if isinstance(it, str)) if isinstance(errors, list) else ""
        if ("not found" in said and "route" not in said) or "could be found" in said:
            raise ProviderKeyMissing(f"the service cannot {what}: it has no such key")
        if answer.status == 404:
            raise ProviderAnswerInvalid(f"the service cannot {what}: no Transit engine at {self._mount!r}")
        if "not allowed" in said:
            raise ProviderDenied(f"the service cannot {what}: it is not allowed")
        raise ProviderAnswerInvalid(f"the service cannot {what} (status {answer.status})")


def open_vault(settings: Mapping[str, str], place: ProviderPlace) -> HeldProvider:
    """Open the provider of ``config.toml``; the service is asked only when key bytes are needed."""
    address = Address.parse(settings["url"])
    mount = settings.get("mount", "transit")
    for name in ("mount", "auth_mount", "vault_namespace"):
        if name in settings and not _MOUNT.fullmatch(settings[name]):
            raise ProviderSettingsInvalid(f"the setting {name!r} is not a path")
    if address.path:
        raise ProviderSettingsInvalid("the setting 'url' has a path; the engine's is the setting 'mount'")
    ca_file = place.folder / settings["ca"] if "ca" in settings else None
    session = VaultSession(
        https_client(address, ca_file=ca_file),
        _login(settings, place.folder),
        namespace=settings.get("vault_namespace"),
    )
    holder = TransitHolder(session, mount=mount, place=str(address))
    return held_provider(KIND, settings, place, holder, assurances=frozenset({Assurance.DEV}))


def _login(settings: Mapping[str, str], folder: Path) -> Login:
    ways = {
        "token_file": {"token_file"},
        "approle": {"role_id_file", "secret_id_file"},
        "kubernetes": {"kubernetes_role", "jwt_file"},
    }
    given = {name for names in ways.values() for name in names} & set(settings)
    chosen = [way for way, names in ways.items() if names == given]
    if not chosen or ("auth_mount" in settings and chosen == ["token_file"]):
        raise ProviderSettingsInvalid(
            "set one way to log in: 'token_file', or 'role_id_file' and 'secret_id_file', or 'kubernetes_role' and "
            "'jwt_file'; the last two take 'auth_mount'"
        )
    if chosen == ["token_file"]:
        return token_file(folder / settings["token_file"])
    mount = settings.get("auth_mount", chosen[0])
    if chosen == ["approle"]:
        return approle(
            mount=mount, role_id=folder / settings["role_id_file"], secret_id=folder / settings["secret_id_file"]
        )
    return kubernetes(mount=mount, role=settings["kubernetes_role"], jwt=folder / settings["jwt_file"])


def _name(version: KeyVersion, entry: bytes) -> str:
    (name,) = decode_entry(KIND, version, entry, count=1)
    return ascii_field(name, version=version)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _batch(data: Mapping[str, JSON], count: int) -> list[Mapping[str, JSON]]:
    results = data.get("batch_results")
    if isinstance(results, list) and len(results) == count:
        found = [it for it in results if isinstance(it, Mapping) and not it.get("error")]
        if len(found) == count:
            return found
    raise ProviderAnswerInvalid(f"the service did not answer for all of {count} keys")


def _secret(result: Mapping[str, JSON]) -> bytes:
    secret = from_base64(result.get("plaintext"), what="a plaintext of the service", refusal=ProviderAnswerInvalid)
    if len(secret) != DATA_KEY_BYTES:
        raise ProviderAnswerInvalid(f"the service returned a key of {len(secret)} bytes")
    return secret


def _parse_ciphertext(text: JSON) -> bytes:
    match = _CIPHERTEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ProviderAnswerInvalid("the service returned no ciphertext in its own spelling")
    raw = from_base64(match[2], what="a ciphertext of the service", refusal=ProviderAnswerInvalid)
    if len(raw) != WRAPPED_BYTES:
        raise ProviderAnswerInvalid(f"the service returned a ciphertext of {len(raw)} bytes")
    return _VERSION.pack(int(match[1])) + raw


def _spell_ciphertext(ciphertext: bytes) -> str:
    if len(ciphertext) != _VERSION.size + WRAPPED_BYTES:
        raise WrapRefused(f"a wrapped key has {_VERSION.size + WRAPPED_BYTES} bytes, not {len(ciphertext)}")
    (version,) = _VERSION.unpack_from(ciphertext)
    if version == 0:  # which Vault and OpenBao take for another spelling of 1
        raise WrapRefused("the wrapped key does not open in this context")
    return f"vault:v{version}:{_base64(ciphertext[_VERSION.size :])}"
