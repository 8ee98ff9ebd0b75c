"""What a TEE of each kind must and may say in a manifest, so that no profile is vacuous.

Sources: Intel TDX module specification (MRTD covers the virtual firmware, RTMR1 and RTMR2 kernel and command line), AMD
SEV-SNP firmware ABI (reported TCB, VMPL, guest policy), Intel DCAP (status words; platform instance id, PPID),
TCG PC Client platform firmware profile (registers 8 to 15 are the operating system's and cannot be reset).

Decides which claims a profile must pin, which words its TCB policy has, in which claims a program can show, and which
claims name the chip. Kinds that are not here (attestation results of others) are unknown to this format and refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from redoubt.evidence.claims import Tee
from redoubt.evidence.dcap import STATUSES
from redoubt.trust.policy import Binding

#: Our word for evidence whose TCB status could not be proved (``tdx.tcb_proved`` is false).
UNPROVED: Final = "unproved"
#: Claims that hold the digest of the program descriptor, followed by zeros → their length in bytes.
DIGEST_CLAIMS: Final[Mapping[str, int]] = MappingProxyType(
    {"snp.host_data": 32, "tdx.mrconfigid": 48, "sgx.configid": 64}
)
#: Claims that measure one image a program; the manifest lists the values with the program.
IMAGE_CLAIMS: Final = frozenset({"sgx.mrenclave", "tdx.mrtd", "snp.measurement"})
_PCR: Final = re.compile(r"tpm\.pcr\.(sha256|sha384|sha512)\.(?:[89]|1[0-5])")
_SNP_TCB: Final = frozenset({"snp.tcb.bootloader", "snp.tcb.tee", "snp.tcb.snp", "snp.tcb.microcode"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TeeRules:
    """The rules of one kind."""

    #: What the names of its claims begin with.
    prefixes: tuple[str, ...]
    #: One of these sets must be pinned, by reference value, minimum or program claim; a name ending in "." is a prefix.
    pinned: tuple[frozenset[str], ...]
    statuses: frozenset[str] = frozenset()
    minimum: frozenset[str] = frozenset()
    chips: tuple[str, ...] = ()
    #: Claims that must be false unless the profile says otherwise; and whether `debug` may say so.
    unsafe: tuple[str, ...] = ()
    may_debug: bool = False
    program_claims: frozenset[str] = frozenset()
    may_extend_pcr: bool = False


RULES: Final[Mapping[Tee, TeeRules]] = MappingProxyType(
    {
        Tee.SGX: TeeRules(
            prefixes=("sgx.",),
            pinned=(frozenset({"sgx.mrenclave"}), frozenset({"sgx.mrsigner", "sgx.isvprodid", "sgx.isvsvn"})),
            statuses=STATUSES,
            chips=("sgx.piid", "sgx.ppid"),
            unsafe=("sgx.debug",),
            program_claims=frozenset({"sgx.mrenclave", "sgx.configid"}),
        ),
        Tee.TDX: TeeRules(
            prefixes=("tdx.", "ccel."),
            pinned=(frozenset({"tdx.mrtd", "tdx.rtmr1", "tdx.rtmr2"}),),
            statuses=STATUSES,
            chips=("tdx.piid", "tdx.ppid"),
            unsafe=("tdx.debug",),
            program_claims=frozenset({"tdx.mrconfigid", "tdx.mrtd", "tdx.rtmr3"}),
        ),
        Tee.SNP: TeeRules(
            prefixes=("snp.",),
            pinned=(frozenset({"snp.measurement", "snp.vmpl"}),),
            minimum=_SNP_TCB,
            chips=("snp.chip_id",),
            unsafe=("snp.debug", "snp.migrate_ma"),
            may_debug=True,
            program_claims=frozenset({"snp.host_data", "snp.measurement"}),
        ),
        Tee.AZ_SNP_VTPM: TeeRules(
            prefixes=("snp.", "hcl.", "tpm."),
            pinned=(frozenset({"snp.measurement", "snp.vmpl", "tpm.pcr."}),),
            minimum=_SNP_TCB,
            chips=("snp.chip_id",),
            unsafe=("snp.debug", "snp.migrate_ma"),
            may_debug=True,
            may_extend_pcr=True,
        ),
        Tee.AZ_TDX_VTPM: TeeRules(
            prefixes=("tdx.", "hcl.", "tpm."),
            pinned=(frozenset({"tdx.mrtd", "tpm.pcr."}),),
            statuses=STATUSES | {UNPROVED},
            chips=("tdx.piid", "tdx.ppid"),
            unsafe=("tdx.debug",),
            may_extend_pcr=True,
        ),
        Tee.TPM: TeeRules(
            prefixes=("tpm.",), pinned=(frozenset({"tpm.pcr."}),), chips=("tpm.ak_sha256",), may_extend_pcr=True
        ),
        Tee.SIMULATED: TeeRules(prefixes=("simulated.",), pinned=(frozenset({"simulated."}),)),
    }
)


def is_program_claim(kind: Tee, claim: str, *, binding: Binding) -> bool:
    """Return whether a program on a TEE of this *kind* can show in *claim*, at the level *binding*."""
    rules = RULES[kind]
    extended = claim == "tdx.rtmr3" or _PCR.fullmatch(claim) is not None
    known = claim in rules.program_claims or (rules.may_extend_pcr and _PCR.fullmatch(claim) is not None)
    return known and binding is (Binding.EXTENDED if extended else Binding.MEASUREMENT)


def shown_digest(claim: str, digest: str) -> str:
    """Return what *claim* is, in hex, when it shows the program descriptor with this *digest* (``sha256:…``).

    Registers are extended exactly once, from zeros, with the hash (of the register's bank) of the 32 bytes.
    """
    raw = bytes.fromhex(digest.removeprefix("sha256:"))
    if claim in DIGEST_CLAIMS:
        return raw.ljust(DIGEST_CLAIMS[claim], b"\0").hex()
    match = _PCR.fullmatch(claim)
    bank = match[1] if match else "sha384"
    event = hashlib.new(bank, raw).digest()
    return hashlib.new(bank, bytes(len(event)) + event).hexdigest()
