"""An AMD of our own: ARK, ASK, ASVK, VCEK, VLEK and signed reports of all three products.

Written from AMD 56860 (report) and 57230 (certificates). Keys are shorter than AMD's so that tests start quickly.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from redoubt.evidence.snp_chain import Pins
from redoubt.evidence.snp_report import TCB_LAYOUT, Product, Signer

NOW = datetime(2026, 1, 15, 12, tzinfo=UTC)
_DAY = timedelta(days=1)
_OID = "1.3.6.1.4.1.3704.1."
_TCB_OIDS = {"bootloader": "3.1", "tee": "3.2", "snp": "3.3", "microcode": "3.8", "fmc": "3.9"}
TCB = {"bootloader": 4, "tee": 1, "snp": 22, "microcode": 213, "fmc": 1}
CPUID = {Product.MILAN: (0x19, 1), Product.GENOA: (0x19, 0x11), Product.TURIN: (0x1A, 2)}
_PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)


def tcb_bytes(product: Product, **changes: int) -> bytes:
    out = bytearray(8)
    for name, at in TCB_LAYOUT[product].items():
        out[at] = {**TCB, **changes}[name]
    return bytes(out)


def _integer(value: int) -> bytes:
    content = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([2, len(content)]) + content


@dataclass
class Amd:
    """One product's keys; the parameters of each method are what a test bends."""

    product: Product

    def __post_init__(self) -> None:
        self.ark_key, self.ask_key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
        self.leaf_key = ec.generate_private_key(ec.SECP384R1())
        self.chip_id = bytes(range(1, 65)) if self.product is not Product.TURIN else bytes(range(1, 9))
        self.ark = self.authority(f"ARK-{self.product}", self.ark_key, f"ARK-{self.product}", self.ark_key)
        self.ask = self.authority(f"SEV-{self.product}", self.ask_key, f"ARK-{self.product}", self.ark_key)
        self.asvk = self.authority(f"SEV-VLEK-{self.product}", self.ask_key, f"ARK-{self.product}", self.ark_key)
        spki = self.ark_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.pins = Pins({self.product: sha256(spki).hexdigest()}, {})

    @staticmethod
    def names(name: str) -> x509.Name:
        return x509.Name(
            [
                x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Advanced Micro Devices"),
                x509.NameAttribute(x509.NameOID.COMMON_NAME, name),
            ]
        )

    def authority(
        self, name: str, key: rsa.RSAPrivateKey, issuer: str, issuer_key: rsa.RSAPrivateKey, *, ca: bool = True
    ) -> bytes:
        builder = self._builder(name, issuer, key.public_key()).add_extension(
            x509.BasicConstraints(ca=ca, path_length=None), critical=True
        )
        return builder.sign(issuer_key, hashes.SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)

    def _builder(
        self,
        name: str,
        issuer: str,
        key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
        days: tuple[int, int] = (-100, 100),
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(self.names(name))
            .issuer_name(self.names(issuer))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + days[0] * _DAY)
            .not_valid_after(NOW + days[1] * _DAY)
        )

    def endorsement(
        self,
        signer: Signer = Signer.VCEK,
        *,
        product_name: str | None = None,
        chip_id: bytes | None = None,
        days: tuple[int, int] = (-100, 100),
        signed_by: rsa.RSAPrivateKey | None = None,
        without: str = "",
        **tcb: int,
    ) -> bytes:
        """Return a VCEK or VLEK in DER."""
        issuer = f"SEV-{self.product}" if signer is Signer.VCEK else f"SEV-VLEK-{self.product}"
        builder = self._builder(f"SEV-{signer.name}", issuer, self.leaf_key.public_key(), days)
        name = (product_name or self.product.value).encode()
        extensions = {"2": bytes([0x16, len(name)]) + name}
        for component in TCB_LAYOUT[self.product]:
            extensions[_TCB_OIDS[component]] = _integer({**TCB, **tcb}[component])
        if signer is Signer.VCEK:
            extensions["4"] = self.chip_id if chip_id is None else chip_id
        else:
            extensions["5"] = b"\x16\x08CN=cloud"
        for suffix, value in extensions.items():
            if suffix != without:
                oid = x509.ObjectIdentifier(_OID + suffix)
                builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        key = signed_by or self.ask_key
        return builder.sign(key, hashes.SHA384(), rsa_padding=_PSS).public_bytes(Encoding.DER)

    def chain(self, signer: Signer = Signer.VCEK) -> tuple[bytes, ...]:
        return (self.endorsement(signer), self.ask if signer is Signer.VCEK else self.asvk, self.ark)

    def revocation_list(
        self, *certificates: bytes, key: rsa.RSAPrivateKey | None = None, days: tuple[int, int] = (-10, 10)
    ) -> bytes:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.names(f"ARK-{self.product}"))
            .last_update(NOW + days[0] * _DAY)
            .next_update(NOW + days[1] * _DAY)
        )
        for each in certificates:
            serial = x509.load_der_x509_certificate(each).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - 9 * _DAY).build()
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(key or self.ark_key, hashes.SHA384(), rsa_padding=_PSS)
        return signed.public_bytes(Encoding.DER)

    def report(
        self,
        *,
        version: int = 3,
        signer: int = 0,
        policy: int = 0x30000,
        report_data: bytes = b"",
        vmpl: int = 0,
        chip_id: bytes | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
        patches: dict[int, bytes] | None = None,
        **tcb: int,
    ) -> bytes:
        """Return a signed report; *patches* (offset → bytes) are written before it is signed."""
        data = bytearray(1184)
        family, model = CPUID[self.product]

        def put(at: int, value: bytes) -> None:
            data[at : at + len(value)] = value

        put(0, version.to_bytes(4, "little"))
        put(0x08, policy.to_bytes(8, "little"))
        put(0x30, vmpl.to_bytes(4, "little") + b"\1\0\0\0")
        put(0x48, (signer << 2).to_bytes(4, "little"))
        put(0x50, report_data.ljust(64, b"\0"))
        put(0x90, b"\x5a" * 48)
        for at in (0x38, 0x180, 0x1E0, 0x1F0):
            put(at, tcb_bytes(self.product, **tcb))
        if version > 2:
            put(0x188, bytes([family, model, 1]))
        default = bytes(64) if signer == Signer.VLEK.value else self.chip_id
        put(0x1A0, default if chip_id is None else chip_id)
        for at, value in (patches or {}).items():
            put(at, value)
        signature = (key or self.leaf_key).sign(bytes(data[:0x2A0]), ec.ECDSA(hashes.SHA384()))
        r, s = decode_dss_signature(signature)
        put(0x2A0, r.to_bytes(72, "little") + s.to_bytes(72, "little"))
        return bytes(data)
