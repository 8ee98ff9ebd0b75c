"""A manifest of two owners, evidence that satisfies it, and keys: what every test here starts from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from redoubt.evidence.claims import JSON, Tee, Verified
from redoubt.trust.manifest import parse_manifest
from redoubt.trust.policy import Manifest
from redoubt.trust.public_key import public_key_text

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ALICE, BOB, MALLORY = (Ed25519PrivateKey.from_private_bytes(bytes([it]) * 32) for it in (1, 2, 3))
DIGEST = "sha256:" + "ab" * 32
OTHER_DIGEST = "sha256:" + "cd" * 32
MEASUREMENT, MRENCLAVE, CHIP = "11" * 48, "22" * 32, "33" * 64


def public(key: Ed25519PrivateKey) -> str:
    return public_key_text(key.public_key().public_bytes_raw())


TOML = f"""\
format = 1
version = 1
least_binding = "agent"

[owners.alice]
key = "{public(ALICE)}"

[owners.bob]
key = "{public(BOB)}"

[recipients.carol]
key = "{public(MALLORY)}"

[datasets.sales]
id = "0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f01"
owners = ["alice"]
keys = ["key:main/sales.hw"]

[datasets.report]
id = "0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f02"
owners = ["alice", "bob"]
approvals = 1
keys = ["key:main/report.dev"]
recipients = ["carol"]

[programs.monthly]
digest = "{DIGEST}"
binding = "measurement"
arguments = [["--month", "2026-??"], []]
measurements = {{ enclave = ["{MRENCLAVE}"] }}

[tees.amd]
kind = "snp"
binding = "measurement"
program_claim = "snp.host_data"
chips = ["{CHIP}"]

[tees.amd.reference]
"snp.measurement" = ["{MEASUREMENT}", "{"44" * 48}"]
"snp.vmpl" = [0]

[tees.amd.minimum]
"snp.tcb.bootloader" = 4
"snp.tcb.tee" = 0
"snp.tcb.snp" = 20
"snp.tcb.microcode" = 200

[tees.enclave]
kind = "sgx"
binding = "measurement"
program_claim = "sgx.mrenclave"
statuses = ["UpToDate", "SWHardeningNeeded"]
refused_advisories = ["INTEL-SA-00615"]
minimum = {{ "sgx.isvsvn" = 3 }}

[tees.laptop]
kind = "simulated"
binding = "agent"

[tees.laptop.reference]
"simulated.warning" = ["SIMULATED: proves nothing about hardware"]

[[grants]]
program = "monthly"
tee = "amd"
dataset = "sales"
actions = ["read"]

[[grants]]
program = "monthly"
tee = "amd"
dataset = "report"
actions = ["write", "read"]

[[grants]]
program = "monthly"
tee = "enclave"
dataset = "sales"
actions = ["read"]

[[grants]]
program = "monthly"
tee = "laptop"
dataset = "report"
actions = ["read"]
"""

SNP_CLAIMS: Mapping[str, JSON] = {
    "snp.measurement": MEASUREMENT,
    "snp.vmpl": 0,
    "snp.host_data": "ab" * 32,
    "snp.chip_id": CHIP,
    "snp.tcb.bootloader": 4,
    "snp.tcb.tee": 0,
    "snp.tcb.snp": 21,
    "snp.tcb.microcode": 209,
    "snp.debug": False,
    "snp.migrate_ma": False,
}
SGX_CLAIMS: Mapping[str, JSON] = {
    "sgx.mrenclave": MRENCLAVE,
    "sgx.isvsvn": 3,
    "sgx.debug": False,
    "sgx.tcb_status": "UpToDate",
}
SIMULATED_CLAIMS: Mapping[str, JSON] = {"simulated.warning": "SIMULATED: proves nothing about hardware"}


def manifest(text: str = TOML) -> Manifest:
    return parse_manifest(text.encode())


def verified(
    tee: Tee = Tee.SNP,
    claims: Mapping[str, JSON] = SNP_CLAIMS,
    *,
    status: str | None = None,
    advisories: tuple[str, ...] = (),
    valid_until: datetime | None = NOW + timedelta(days=1),
) -> Verified:
    return Verified(
        tee=tee,
        claims=dict(claims),
        report_data=bytes(64),
        tcb_status=status,
        advisories=advisories,
        evidence_digest="sha256:" + "ee" * 32,
        valid_until=valid_until,
    )


def sgx(*, status: str | None = "UpToDate", advisories: tuple[str, ...] = (), **claims: JSON) -> Verified:
    changed = {**SGX_CLAIMS, **{f"sgx.{name}": value for name, value in claims.items()}}
    return verified(Tee.SGX, changed, status=status, advisories=advisories)


def snp(**claims: JSON) -> Verified:
    changed = {**SNP_CLAIMS, **{f"snp.{name.replace('__', '.')}": value for name, value in claims.items()}}
    return verified(Tee.SNP, changed)
