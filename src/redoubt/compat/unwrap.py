"""Data keys of BigDL PPML, unwrapped by the service, or the key, that wrapped them.

A service is a function from the wrapped text to the data key. What a service says is what its files say: neither the
simple one nor AES in ECB mode nor RSA proves who wrapped a key. The predecessor's own key server is not asked, since it
takes its tokens in URLs: its data keys are given as text in a private file.
"""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from redoubt.compat.names import Service
from redoubt.crypto.legacy_keys import (
    DataKeyText,
    key_line,
    text_of,
    unwrap_plain_text,
    unwrap_rsa,
    unwrap_simple,
)
from redoubt.crypto.strict_json import from_base64, from_base64url
from redoubt.errors import (
    LegacyKeyInvalid,
    LegacyKeyWrong,
    LegacyUnsupported,
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderKeyMissing,
    WrapRefused,
)
from redoubt.keys.azure import vault_session
from redoubt.keys.azure_login import IMDS
from redoubt.keys.credentials import read_credential
from redoubt.keys.ehsm_wire import APPID, EhsmClient
from redoubt.keys.https import Address, https_client
from redoubt.keys.private import read_private_file, read_regular_file
from redoubt.keys.registry import ProviderPlace
from redoubt.limits import MAX_LEGACY_KEY_BYTES

Unwrap = Callable[[str], DataKeyText]


_KEY_URL: Final = re.compile(r"(https://[^/]+)/keys/([A-Za-z0-9-]{1,127}/[A-Za-z0-9]{1,64})")
_EHSM_KEY: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
#: The associated data of every data key that the predecessor had an eHSM make.
_AAD: Final = "test"


def read_key_file(path: Path, *, what: str) -> str:
    """Return the key in *path*, which others may read: what it holds is an identifier, or was wrapped.

    Raises:
        NotFound, StorageError: it cannot be read.
        LegacyKeyInvalid: it is not one line of visible ASCII.
    """
    content = read_regular_file(path, limit_bytes=MAX_LEGACY_KEY_BYTES, what=what, refusal=LegacyKeyInvalid)
    return key_line(content, what=f"{what} {path}")


def read_secret_file(path: Path, *, what: str) -> str:
    """Return the key in *path*, a private file, since it is not wrapped.

    Raises:
        NotFound, StorageError: it cannot be read.
        LegacyKeyInvalid: it is open to others, or not one line of visible ASCII.
    """
    content = read_private_file(path, limit_bytes=MAX_LEGACY_KEY_BYTES, what=what, refusal=LegacyKeyInvalid)
    return key_line(content, what=f"{what} {path}")


def service(kind: Service, primary_key: Path, *, settings: Mapping[str, str], imds: tuple[str, int] = IMDS) -> Unwrap:
    """Return the service of this *kind*, whose primary key *primary_key* is or names; *settings* are its own.

    Of an eHSM these are ``url``, ``appid``, ``apikey_file`` and ``ca``; of a vault ``domain``, ``ca`` and those of its
    login, as of the provider ``azure``. Each service is asked once for each wrapped key.

    Raises:
        NotFound, StorageError: a file cannot be read.
        LegacyKeyInvalid, ProviderSettingsInvalid: a key file, or a setting, is malformed.
        LegacyUnsupported: the service is not asked.
    """
    match kind:
        case Service.SIMPLE:
            primary = read_key_file(primary_key, what="the primary key")
            unwrap: Unwrap = functools.partial(unwrap_simple, primary)
        case Service.PLAIN_TEXT:
            unwrap = functools.partial(unwrap_plain_text, read_secret_file(primary_key, what="the primary key"))
        case Service.RSA:
            unwrap = functools.partial(unwrap_rsa, _rsa_key(primary_key))
        case Service.EHSM:
            unwrap = _ehsm(read_key_file(primary_key, what="the primary key"), settings)
        case Service.AZURE:
            unwrap = _azure(read_key_file(primary_key, what="the primary key"), settings, imds=imds)
        case Service.BIGDL:
            raise LegacyUnsupported(
                "the server of BigDLKeyManagementService takes its tokens in URLs and is not asked",
                hint="Fetch the data key once by hand, and give it in a 0600 file with --data-key-text.",
            )
    return functools.cache(unwrap)


def _rsa_key(path: Path) -> rsa.RSAPrivateKey:
    pem = read_private_file(path, limit_bytes=4 * MAX_LEGACY_KEY_BYTES, what="the RSA key", refusal=LegacyKeyInvalid)
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise LegacyKeyInvalid(f"{path} holds no RSA key in PEM without a passphrase") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise LegacyKeyInvalid(f"{path} holds another key than one of RSA")
    return key


def _ehsm(keyid: str, settings: Mapping[str, str]) -> Unwrap:
    if not _EHSM_KEY.fullmatch(keyid):
        raise LegacyKeyInvalid("the primary key is no key id of an eHSM")
    for name in ("url", "appid", "apikey_file"):
        if name not in settings:
            raise LegacyKeyInvalid(f"an eHSM needs {name}")
    address, appid = Address.parse(settings["url"]), settings["appid"]
    if not APPID.fullmatch(appid):
        raise LegacyKeyInvalid("the appid of the eHSM is no identifier")
    key_file = Path(settings["apikey_file"])
    client = EhsmClient(
        https_client(address, ca_file=Path(settings["ca"]) if "ca" in settings else None),
        base=address.path,
        appid=appid,
        api_key=lambda: read_credential(key_file, what="the API key file"),
    )

    def unwrap(wrapped: str) -> DataKeyText:
        from_base64(wrapped, what="the wrapped data key", refusal=LegacyKeyInvalid)
        payload = {"aad": _AAD, "ciphertext": wrapped, "keyid": keyid}
        try:
            plain = client.call("Decrypt", payload, refusal=WrapRefused).get("plaintext")
        except WrapRefused:
            raise LegacyKeyWrong("the eHSM cannot open the data key with this primary key") from None
        key = from_base64(plain, what="the plaintext of the service", refusal=ProviderAnswerInvalid)
        return DataKeyText(base64.b64encode(key).decode())

    return unwrap


def _azure(url: str, settings: Mapping[str, str], *, imds: tuple[str, int]) -> Unwrap:
    match = _KEY_URL.fullmatch(url)
    if match is None:
        raise LegacyKeyInvalid("the primary key is no URL of a version of a vault's key")
    address, kid = Address.parse(match[1], what="the primary key's URL"), match[2]
    session, _ = vault_session(address, settings, ProviderPlace(Path(), None), imds=imds)

    def unwrap(wrapped: str) -> DataKeyText:
        value = from_base64(wrapped, what="the wrapped data key", refusal=LegacyKeyInvalid)
        spelt = base64.urlsafe_b64encode(value).rstrip(b"=").decode()
        # RSA-OAEP is the one with SHA-1: what the predecessor wrapped with, and used here to unwrap alone.
        answer = session.call("POST", f"/keys/{kid}/unwrapkey?api-version=7.4", {"alg": "RSA-OAEP", "value": spelt})
        if answer.status == 400:
            raise LegacyKeyWrong("the vault cannot open the data key with this primary key")
        if answer.status == 404:
            raise ProviderKeyMissing("the vault has no such primary key, or it is disabled")
        if answer.status == 403:
            raise ProviderDenied("the vault does not allow to unwrap with this primary key")
        if answer.status != 200:
            raise ProviderAnswerInvalid(f"the vault cannot unwrap (status {answer.status})")
        return text_of(from_base64url(answer.body.get("value"), what="the key", refusal=ProviderAnswerInvalid))

    return unwrap
