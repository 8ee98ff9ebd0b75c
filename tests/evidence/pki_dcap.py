"""An Intel of our own: root, PCK CA, PCK, TCB signer, revocation lists, collateral and signed quotes.

Written from Intel's "PCK Certificate and CRL Profile" and the PCS API v4, so that statuses that no public vector has
(Revoked, ConfigurationNeeded, TDRelaunchAdvised …) and revoked certificates can be tested.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_DAY = timedelta(days=1)
FMSPC = bytes.fromhex("00906ea10000")
CPU_SVN = bytes([5] * 16)
PCE_SVN = 11
_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_MRSIGNER_QE = bytes([0x8C] * 32)
_SGX = "1.2.840.113741.1.13.1"
_SEPT_VE_DISABLE = (1 << 28).to_bytes(8, "little")


def _der(tag: int, content: bytes) -> bytes:
    if len(content) < 128:
        return bytes([tag, len(content)]) + content
    size = len(content).to_bytes(2, "big")
    return bytes([tag, 0x82]) + size + content


def _oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytes([first * 40 + second])
    for arc in rest:
        part = bytes([arc & 0x7F])
        while arc := arc >> 7:
            part = bytes([0x80 | arc & 0x7F]) + part
        out += part
    return _der(6, out)


def _entry(suffix: str, value: bytes) -> bytes:
    return _der(0x30, _oid(f"{_SGX}{suffix}") + value)


def _sgx_extension() -> bytes:
    components = b"".join(_entry(f".2.{index + 1}", _der(2, bytes([svn]))) for index, svn in enumerate(CPU_SVN))
    tcb = components + _entry(".2.17", _der(2, bytes([PCE_SVN]))) + _entry(".2.18", _der(4, CPU_SVN))
    return _der(
        0x30,
        _entry(".1", _der(4, bytes(16)))
        + _entry(".2", _der(0x30, tcb))
        + _entry(".3", _der(4, bytes(2)))
        + _entry(".4", _der(4, FMSPC))
        + _entry(".5", _der(0x0A, b"\0")),
    )


def sign(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class Intel:
    """Keys and certificates; the parameters of each method are what a test bends."""

    root_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    ca_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    pck_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    tcb_key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    ak: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    pck_days: tuple[int, int] = (-100, 100)

    def __post_init__(self) -> None:
        root, ca = self._names("Intel SGX Root CA"), self._names("Intel SGX PCK Platform CA")
        self.root = self._certificate(root, self.root_key, root, self.root_key, ca=True)
        self.ca = self._certificate(ca, self.ca_key, root, self.root_key, ca=True)
        leaf = self._names("Intel SGX PCK Certificate")
        self.pck = self._certificate(leaf, self.pck_key, ca, self.ca_key, days=self.pck_days, sgx=True)
        self.tcb = self._certificate(self._names("Intel SGX TCB Signing"), self.tcb_key, root, self.root_key)

    @property
    def root_der(self) -> bytes:
        return self.root.public_bytes(Encoding.DER)

    @staticmethod
    def _names(name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    @staticmethod
    def _certificate(
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        issuer: x509.Name,
        issuer_key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        days: tuple[int, int] = (-1000, 1000),
        sgx: bool = False,
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + days[0] * _DAY)
            .not_valid_after(NOW + days[1] * _DAY)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False),
                critical=True,
            )
        )
        if sgx:
            oid = x509.ObjectIdentifier(_SGX)
            builder = builder.add_extension(x509.UnrecognizedExtension(oid, _sgx_extension()), critical=False)
        return builder.sign(issuer_key, hashes.SHA256())

    def _crl(self, issuer: x509.Certificate, key: ec.EllipticCurvePrivateKey, serials: tuple[int, ...]) -> str:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer.subject)
            .last_update(NOW - 5 * _DAY)
            .next_update(NOW + 60 * _DAY)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        )
        for serial in serials:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 6 * _DAY).build()
            builder = builder.add_revoked_certificate(entry)
        return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER).hex()

    def collateral(
        self,
        *,
        tdx: bool = False,
        status: str = "UpToDate",
        advisories: tuple[str, ...] = (),
        level: int = 5,
        revoked: tuple[int, ...] = (),
        revoked_by_root: tuple[int, ...] = (),
        issued: datetime = NOW - 3 * _DAY,
        until: datetime = NOW + 20 * _DAY,
        fmspc: bytes = FMSPC,
    ) -> bytes:
        components = [{"svn": level}] * 16
        tcb = {"sgxtcbcomponents": components, "pcesvn": PCE_SVN}
        dates = {"issueDate": _time(issued), "nextUpdate": _time(until), "tcbEvaluationDataNumber": 18}
        info = {
            "id": "TDX" if tdx else "SGX",
            "version": 3,
            **dates,
            "fmspc": fmspc.hex(),
            "pceId": "0000",
            "tcbType": 0,
        }
        if tdx:
            tcb["tdxtcbcomponents"] = [{"svn": 1}] * 2 + [{"svn": 0}] * 14
            zeros = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "ff" * 8}
            info["tdxModule"] = zeros
            module = {"tcb": {"isvsvn": 1}, "tcbDate": _time(NOW - 50 * _DAY), "tcbStatus": "UpToDate"}
            info["tdxModuleIdentities"] = [{"id": "TDX_01", **zeros, "tcbLevels": [module]}]
        info["tcbLevels"] = [
            {"tcb": tcb, "tcbDate": _time(NOW - 50 * _DAY), "tcbStatus": status, "advisoryIDs": list(advisories)}
        ]
        identity = {
            "id": "TD_QE" if tdx else "QE",
            "version": 2,
            **dates,
            "miscselect": "00000000",
            "miscselectMask": "ffffffff",
            "attributes": "11" + "00" * 15,
            "attributesMask": "fb" + "ff" * 7 + "00" * 8,
            "mrsigner": _MRSIGNER_QE.hex(),
            "isvprodid": 1,
            "tcbLevels": [{"tcb": {"isvsvn": 1}, "tcbDate": _time(NOW - 50 * _DAY), "tcbStatus": "UpToDate"}],
        }
        chain = (self.tcb.public_bytes(Encoding.PEM) + self.root.public_bytes(Encoding.PEM)).decode()
        crl_chain = (self.ca.public_bytes(Encoding.PEM) + self.root.public_bytes(Encoding.PEM)).decode()
        info_text, identity_text = (json.dumps(each, separators=(",", ":")) for each in (info, identity))
        parts = {
            "pck_crl_issuer_chain": crl_chain,
            "root_ca_crl": self._crl(self.root, self.root_key, revoked_by_root),
            "pck_crl": self._crl(self.ca, self.ca_key, revoked),
            "tcb_info_issuer_chain": chain,
            "tcb_info": info_text,
            "tcb_info_signature": sign(self.tcb_key, info_text.encode()).hex(),
            "qe_identity_issuer_chain": chain,
            "qe_identity": identity_text,
            "qe_identity_signature": sign(self.tcb_key, identity_text.encode()).hex(),
        }
        return json.dumps(parts).encode()

    def sgx_quote(
        self, *, report_data: bytes = b"", attributes: int = 5, certification: int = 5, mrenclave: bytes = b"\x11" * 32
    ) -> bytes:
        body = _enclave(attributes, mrenclave, b"\x22" * 32, 7, 3, report_data.ljust(64, b"\0"))
        header = (3).to_bytes(2, "little") + b"\2\0" + bytes(4) + b"\1\0\1\0" + _VENDOR + bytes(20)
        return self._finish(header + body, nested=False, certification=certification)

    def tdx_quote(
        self,
        *,
        report_data: bytes = b"",
        attributes: bytes = _SEPT_VE_DISABLE,
        rtmrs: tuple[bytes, ...] = (bytes(48),) * 4,
    ) -> bytes:
        svn = b"\1\1" + bytes(14)
        body = svn + bytes(96) + bytes(8) + attributes + bytes(8) + b"\x33" * 48 + bytes(144)
        body += b"".join(rtmrs) + report_data.ljust(64, b"\0")
        header = (4).to_bytes(2, "little") + b"\2\0" + b"\x81\0\0\0" + bytes(4) + _VENDOR + bytes(20)
        return self._finish(header + body, nested=True, certification=5)

    def _finish(self, signed: bytes, *, nested: bool, certification: int) -> bytes:
        auth = bytes(32)
        bound = sha256(_point(self.ak) + auth).digest().ljust(64, b"\0")
        report = _enclave(0x11, b"\x44" * 32, _MRSIGNER_QE, 1, 2, bound)
        chain = b"".join(each.public_bytes(Encoding.PEM) for each in (self.pck, self.ca, self.root))
        certified = report + sign(self.pck_key, report) + len(auth).to_bytes(2, "little") + auth
        certified += certification.to_bytes(2, "little") + len(chain).to_bytes(4, "little") + chain
        if nested:
            certified = (6).to_bytes(2, "little") + len(certified).to_bytes(4, "little") + certified
        data = sign(self.ak, signed) + _point(self.ak) + certified
        return signed + len(data).to_bytes(4, "little") + data


def _enclave(attributes: int, mrenclave: bytes, mrsigner: bytes, product: int, svn: int, report_data: bytes) -> bytes:
    flags = attributes.to_bytes(8, "little") + bytes(8)
    head = CPU_SVN + bytes(32) + flags + mrenclave + bytes(32) + mrsigner + bytes(96)
    return head + product.to_bytes(2, "little") + svn.to_bytes(2, "little") + bytes(60) + report_data
