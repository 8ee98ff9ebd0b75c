"""What stands in a folder of certificates: every file's name and content, all following from a few secrets.

Decides where things belong: ``ca/`` stays where certificates are rotated, ``keys/`` and ``password/`` go to servers,
``trust/`` goes to clients, ``enclave/`` to whoever signs enclaves. Files are named as BigDL PPML's scripts named them.
Here is no file and no clock; whoever writes these files makes them 0600.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from redoubt.errors import CertificatesIncomplete
from redoubt.pki import kubernetes
from redoubt.pki.build import private_pem
from redoubt.pki.enclave import ENCLAVE_KEY
from redoubt.pki.internal import InternalAuthority, ServerIdentity, pem
from redoubt.pki.jks import KeyEntry, TrustedEntry, jks_store
from redoubt.pki.keystore import key_store, trust_store
from redoubt.pki.ppml import signing_request, wrapped_password

AUTHORITY: Final = "ca/authority.pem"
#: Key and chain in one file, so that no moment of a rotation leaves a pair that is none.
IDENTITY: Final = "keys/server.pem"
PASSWORD: Final = "password/keystore-password"  # noqa: S105 - a name
ENCLAVE_KEY_FILE: Final = f"enclave/{ENCLAVE_KEY}"
#: Stands there if the folder has the files that only BigDL PPML wanted.
PPML_MARK: Final = "password/key.txt"
_ALIAS: Final = "server"
_PASSWORD_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """What opens the key stores, and what the processes of one Spark application share."""

    keystore: str = field(repr=False)
    spark: str = field(repr=False)

    @classmethod
    def new(cls, *, ppml: bool) -> Passwords:
        """Return new ones; with *ppml* they are the same, as the submit lines of BigDL PPML need it."""
        keystore = secrets.token_hex(_PASSWORD_BYTES)
        return cls(keystore=keystore, spark=keystore if ppml else secrets.token_hex(_PASSWORD_BYTES))


def keystore_password(content: bytes) -> str:
    """Return the password in the file PASSWORD; raises CertificatesIncomplete if it is none that was made here."""
    text = content.decode("ascii", "replace")
    if not re.fullmatch(rf"[0-9a-f]{{{2 * _PASSWORD_BYTES}}}", text):
        raise CertificatesIncomplete(
            f"{PASSWORD} is not a password that was made here",
            hint="New passwords: `redoubt certs rotate --compromised`.",
        )
    return text


def trust_files(authority: InternalAuthority) -> dict[str, bytes]:
    """Return what clients get."""
    bundle = authority.bundle()
    return {"trust/ca.crt": bundle, "trust/truststore.pkcs12": trust_store(bundle)}


def server_files(
    server: ServerIdentity,
    *,
    authority: InternalAuthority,
    trust: Mapping[str, bytes],
    password: str,
    ppml: bool,
    now: datetime,
) -> dict[str, bytes]:
    """Return what servers get, key stores under *password* with it, and the Secret of that and of *trust*."""
    trusted = [authority.certificate, *((authority.overlap.former,) if authority.overlap else ())]
    entry = KeyEntry(
        alias=_ALIAS,
        key=server.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        chain=server.chain,
    )
    # CAs too, since submit lines of BigDL PPML name this store as the trust store.
    anchors = [TrustedEntry(alias=f"ca-{number}", certificate=it) for number, it in enumerate(trusted)]
    files = {
        "server.pem": server.to_pem(),
        "server.key": private_pem(server.key),
        "server.crt": pem(server.chain),
        "keystore.pkcs12": key_store(server.key, server.chain, alias=_ALIAS, password=password),
        "keystore.jks": jks_store([entry, *anchors], password=password, now=now),
        **({"server.csr": signing_request(server)} if ppml else {}),
    }
    mounted = files | {name.partition("/")[2]: content for name, content in trust.items()}
    files["keys.yaml"] = kubernetes.secret(kubernetes.KEYS_SECRET, mounted)
    return {f"keys/{name}": content for name, content in files.items()}


def password_files(passwords: Passwords, *, ppml: bool) -> dict[str, bytes]:
    """Return the files of the passwords, and the Secrets with them."""
    files = {"keystore-password": passwords.keystore.encode()}
    files |= wrapped_password(passwords.keystore) if ppml else {}
    yaml = kubernetes.secret(kubernetes.PASSWORD_SECRET, files)
    spark = passwords.spark.encode()
    files |= {
        "password.yaml": yaml,
        "spark-secret": spark,
        "spark-secret.yaml": kubernetes.secret(kubernetes.SPARK_SECRET, {"secret": spark}),
    }
    return {f"password/{name}": content for name, content in files.items()}


def enclave_files(key: bytes) -> dict[str, bytes]:
    """Return the file of an enclave signing key (PEM), and the Secret with it."""
    yaml = kubernetes.secret(kubernetes.ENCLAVE_SECRET, {ENCLAVE_KEY: key})
    return {ENCLAVE_KEY_FILE: key, "enclave/enclave-key.yaml": yaml}
