"""The public vectors of ``../shared/vectors`` as requests to the adapter. Absent, their tests are skipped."""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from redoubt.evidence.kinds import Kind
from redoubt.evidence.verify import Request

SHARED = Path(os.environ.get("REDOUBT_SHARED") or Path(__file__).parents[3] / "shared")
_VECTORS = SHARED / "vectors"
#: Where an entry names no time, one at which nothing that it consists of had expired.
_ANY_TIME = datetime(2025, 6, 1, tzinfo=UTC)
#: Files that belong to an entry, but that it does not name.
_MAA_KEYS = "Azure+confidential-computing-cvm-guest-attestation/maa-jwks.json"
_CCEL_QUOTE = "tdx-v4-54334c81.quote.bin"
_EAR_KEY = "pkey.jwk.json"


@dataclass(frozen=True)
class Entry:
    """One entry of the manifest."""

    id: str
    fields: dict[str, Any]

    @property
    def kind(self) -> Kind:
        return Kind(self.fields["tee"])

    @property
    def accepted(self) -> bool:
        return bool(self.fields["verdict"] == "accept")

    @property
    def files(self) -> list[Path]:
        return [_VECTORS / name for name in self.fields["file"].split(", ")]

    @property
    def time(self) -> datetime:
        if "verify_at" in self.fields:
            return datetime.fromtimestamp(self.fields["verify_at"], UTC)
        if "cert_valid" in self.fields:
            return datetime.fromisoformat(self.fields["cert_valid"][0]).replace(tzinfo=UTC) + timedelta(days=30)
        return _ANY_TIME

    @property
    def collateral(self) -> Path | None:
        name = self.fields.get("collateral")
        return None if name is None else _VECTORS / name

    @property
    def certificates(self) -> list[Path]:
        folder = self.files[0].parent
        raw_pair = self.kind is Kind.AZ_SNP_VTPM and len(self.files) > 1
        return self.files[3:] if raw_pair else [folder / name for name in self.fields.get("certs", ())]

    @property
    def keys(self) -> list[Path]:
        folder = self.files[0].parent
        return {Kind.MAA: [_VECTORS / _MAA_KEYS], Kind.EAR: [folder / _EAR_KEY]}.get(self.kind, [])

    @property
    def quotes(self) -> list[Path]:
        if self.kind is Kind.CCEL:
            return [self.files[0].with_name(_CCEL_QUOTE)]
        return self.files[1:3] if self.kind in (Kind.AZ_SNP_VTPM, Kind.AZ_TDX_VTPM) else []

    @property
    def evidence(self) -> bytes:
        return self.files[0].read_bytes()

    @property
    def attestation_key(self) -> bytes | None:
        return json.loads(self.evidence)["ak_public"].encode() if self.kind is Kind.TPM else None

    def request(self) -> Request:
        return Request(
            kind=self.kind,
            evidence=self.evidence,
            now=self.time,
            collateral=None if self.collateral is None else self.collateral.read_bytes(),
            certificates=tuple(path.read_bytes() for path in self.certificates),
            keys=tuple(path.read_bytes() for path in self.keys),
            attestation_key=self.attestation_key,
            quotes=tuple(path.read_bytes() for path in self.quotes),
        )


@functools.cache
def entries() -> tuple[Entry, ...]:
    manifest = _VECTORS / "manifest.json"
    if not manifest.exists():
        return ()
    return tuple(Entry(fields["id"], fields) for fields in json.loads(manifest.read_text()))


def parameters(*kinds: Kind, accepted: bool | None = None) -> list[Any]:
    """Return the entries of these kinds (default: all) for ``pytest.mark.parametrize``."""
    found = [
        pytest.param(entry, id=f"{entry.kind}-{entry.id}")
        for entry in entries()
        if (not kinds or entry.kind in kinds) and accepted in (None, entry.accepted)
    ]
    return found or [pytest.param(None, marks=pytest.mark.skip(reason=f"no public vectors at {_VECTORS}"))]


def entry(name: str) -> Entry:
    """Return the entry with this id; skips the test where the vectors are not there, fails where only it is missing."""
    require_vectors()
    (found,) = (each for each in entries() if each.id == name)
    return found


def require_vectors() -> None:
    """Skip the test where the vectors are not there as a whole."""
    if not entries():
        pytest.skip(f"no public vectors at {_VECTORS}: set REDOUBT_SHARED")


def vector(path: str) -> bytes:
    """Return the vector file at *path*; skips the test where the vectors are not there."""
    require_vectors()
    return (_VECTORS / path).read_bytes()


def trustee(name: str) -> bytes:
    """Return a vector that Confidential Containers' Trustee publishes."""
    return vector(f"confidential-containers+trustee/{name}")
