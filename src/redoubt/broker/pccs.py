"""A client of Intel's certification service, or of an operator's cache of it (PCCS): the collateral of one platform.

Source: Intel SGX and TDX Provisioning Certification Service API, version 4, and the PCCS design guide, whose one
addition is ``rootcacrl``. Only https, to a service that proves its name to the operator's CA (a PCCS has a certificate
of its own, as a rule) or to the system's CAs. ``dcap-qvl`` can fetch too, but takes no CA, and bounds no answer.

Nothing here is trusted: what is fetched is signed by Intel, and verified with every quote. TCB info and QE identity are
signed as they stand in the answer, so they are cut out of it, never parsed and written again.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from redoubt.errors import CollateralUnavailable
from redoubt.evidence.quote import Body, parse_quote
from redoubt.keys.https import Address, https_connector
from redoubt.limits import MAX_COLLATERAL_BYTES

INTEL: Final = "https://api.trustedservices.intel.com"
#: Where Intel itself has the root's list: the distribution point that its root certificate names.
_INTEL_ROOT_LIST: Final = "https://certificates.trustedservices.intel.com"
_INTEL_ROOT_LIST_PATH: Final = "/IntelSGXRootCA.der"
_CHAIN: Final = {
    "pckcrl": ("SGX-PCK-CRL-Issuer-Chain",),
    "tcb": ("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"),
    "qe/identity": ("SGX-Enclave-Identity-Issuer-Chain",),
}
_FMSPC: Final = re.compile("[0-9A-F]{12}")
_AUTHORITIES: Final = frozenset({"processor", "platform"})

Connect = Callable[[], http.client.HTTPSConnection]


@dataclass(frozen=True, slots=True)
class Platform:
    """What a quote says it is of, not proved: TEE, the processor's family, and the CA of its certificate."""

    #: ``sgx`` or ``tdx``: one platform has collateral for each.
    tee: str
    fmspc: str
    authority: str

    @classmethod
    def of(cls, quote: bytes) -> Platform:
        """Return the platform of *quote*; raises EvidenceError, CollateralUnavailable if none is named."""
        from dcap_qvl import parse_quote as parse

        outer = parse_quote(quote)
        try:
            parsed = parse(outer.canonical)
            fmspc, authority = str(parsed.fmspc()), str(parsed.ca())
        except ValueError as error:
            raise CollateralUnavailable(f"the quote names no platform: {error}") from None
        if not _FMSPC.fullmatch(fmspc) or authority not in _AUTHORITIES:
            raise CollateralUnavailable("the quote names no platform that Intel's service knows")
        return cls("sgx" if outer.body_kind is Body.SGX else "tdx", fmspc, authority)


@dataclass(frozen=True, slots=True)
class _Answer:
    body: bytes
    headers: http.client.HTTPMessage


class Pccs:
    """The service at one address. Safe for several threads: every fetch has a connection of its own."""

    def __init__(self, url: str, *, ca_file: Path | None) -> None:
        """Use the service at *url*; raises ProviderSettingsInvalid if address or CA file cannot be used."""
        address = Address.parse(url, what="the address of the PCCS")
        self._name, self._path = str(address), address.path
        self._connect: Connect = https_connector(address, ca_file=ca_file)
        self._root_list: Connect | None = None
        if str(address) == INTEL:
            self._root_list = https_connector(Address.parse(_INTEL_ROOT_LIST), ca_file=ca_file)

    def fetch(self, platform: Platform) -> bytes:
        """Return the collateral of *platform*, as JSON of ``dcap-qvl``.

        Raises:
            CollateralUnavailable: the service does not answer, is not proved, or answers with something else.
        """
        tee = platform.tee
        with self._opened(self._connect) as connection:
            revoked = self._get(connection, f"/sgx/certification/v4/pckcrl?ca={platform.authority}&encoding=der")
            tcb = self._get(connection, f"/{tee}/certification/v4/tcb?fmspc={platform.fmspc}")
            identity = self._get(connection, f"/{tee}/certification/v4/qe/identity")
            root_list = None if self._root_list else self._get(connection, "/sgx/certification/v4/rootcacrl").body
        if self._root_list is not None:
            with self._opened(self._root_list) as connection:
                root_list = self._read(connection, _INTEL_ROOT_LIST_PATH).body
        assert root_list is not None
        info, info_signature = self._signed(tcb.body, "tcbInfo")
        qe, qe_signature = self._signed(identity.body, "enclaveIdentity")
        parts = {
            "pck_crl_issuer_chain": self._chain(revoked, "pckcrl"),
            "root_ca_crl": self._der(root_list).hex(),
            "pck_crl": self._der(revoked.body).hex(),
            "tcb_info_issuer_chain": self._chain(tcb, "tcb"),
            "tcb_info": info,
            "tcb_info_signature": info_signature,
            "qe_identity_issuer_chain": self._chain(identity, "qe/identity"),
            "qe_identity": qe,
            "qe_identity_signature": qe_signature,
        }
        return json.dumps(parts).encode()

    @contextlib.contextmanager
    def _opened(self, connect: Connect) -> Iterator[http.client.HTTPSConnection]:
        connection = connect()
        try:
            yield connection
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "verify_message", "") or getattr(error, "strerror", "") or type(error).__name__
            raise CollateralUnavailable(f"{self._name}: {reason}") from None
        finally:
            connection.close()

    def _get(self, connection: http.client.HTTPSConnection, path: str) -> _Answer:
        return self._read(connection, self._path + path)

    def _read(self, connection: http.client.HTTPSConnection, path: str) -> _Answer:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read(MAX_COLLATERAL_BYTES + 1)
        what = f"{self._name}: the answer to {path.partition('?')[0]}"
        if response.status != http.client.OK:  # a redirect too: it would choose another host
            raise CollateralUnavailable(f"{what} has the status {response.status}")
        if len(body) > MAX_COLLATERAL_BYTES:
            raise CollateralUnavailable(f"{what} is larger than {MAX_COLLATERAL_BYTES} bytes")
        return _Answer(body, response.headers)

    def _chain(self, answer: _Answer, kind: str) -> str:
        for name in _CHAIN[kind]:
            if (value := answer.headers.get(name)) is not None:
                return unquote(value)
        raise CollateralUnavailable(f"{self._name}: the answer to {kind} has no header {_CHAIN[kind][0]}")

    def _signed(self, body: bytes, name: str) -> tuple[str, str]:
        """Return the member *name* of an answer as it stands there, and the signature over it (hex)."""
        try:
            text = body.decode()
            start = re.compile(rf'\s*\{{\s*"{name}"\s*:\s*').match(text)
            if start is None:
                raise ValueError(name)
            _, end = json.JSONDecoder().raw_decode(text, start.end())
            signature = json.loads("{" + text[end:].lstrip().removeprefix(","))["signature"]
            bytes.fromhex(signature)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise CollateralUnavailable(f"{self._name}: an answer is not a signed {name}") from None
        return text[start.end() : end], signature

    def _der(self, body: bytes) -> bytes:
        """Return a revocation list as DER: a PCCS sends some as hexadecimal digits or PEM."""
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import Encoding

        try:
            if body.startswith(b"-----BEGIN"):
                return x509.load_pem_x509_crl(body).public_bytes(Encoding.DER)
            data = body if body.startswith(b"\x30") and not _is_hex(body) else bytes.fromhex(body.decode("ascii"))
            x509.load_der_x509_crl(data)
        except (ValueError, x509.InvalidVersion):
            raise CollateralUnavailable(f"{self._name}: an answer is not a revocation list") from None
        return data


def _is_hex(body: bytes) -> bool:
    # A DER sequence begins with 0x30, which is also the digit 0.
    return re.fullmatch(rb"[0-9A-Fa-f\s]+", body) is not None
