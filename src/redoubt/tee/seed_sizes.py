"""The sizes in BigDL PPML's instructions, as rows: what they give, and what this version makes of it.

The rows stand in ``docs/tee-tables.md``. Their names say where they come from; a heap that the instructions leave to
Spark's default is 1g.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from redoubt.errors import SizeRefused
from redoubt.tee.amount import gramine_size, jvm_size, occlum_size, parse_amount
from redoubt.tee.sizing import Asked, LibraryOs, Role, Sizes, compute_sizes


@dataclass(frozen=True, slots=True)
class SeedSize:
    """One role of one example."""

    example: str
    role: Role
    library_os: LibraryOs
    heap: str
    enclave: str
    cores: int = 1
    threads: int | None = None
    kernel_heap: str | None = None
    metaspace: str = "512M"
    python_workers: int = 0

    def asked(self, *, enclave: bool = True) -> Asked:
        """Return what the example asks for, with or without its size of the enclave."""
        return Asked(
            role=self.role,
            library_os=self.library_os,
            memory=parse_amount(self.heap, name="the heap"),
            cores=self.cores,
            python_workers=self.python_workers,
            metaspace=parse_amount(self.metaspace, name="the metaspace"),
            enclave=parse_amount(self.enclave, name="the enclave") if enclave else None,
            kernel_heap=None if self.kernel_heap is None else parse_amount(self.kernel_heap, name="the kernel heap"),
            threads=self.threads,
        )


_O, _G = LibraryOs.OCCLUM, LibraryOs.GRAMINE
_D, _E = Role.DRIVER, Role.EXECUTOR
SEED_SIZES: Final = (
    SeedSize("Spark Pi", _D, _O, "512m", "8GB", 1, 256, "1GB"),
    SeedSize("Spark Pi", _E, _O, "1g", "8GB", 1, 256, "1GB"),
    SeedSize("Logistic regression", _D, _O, "2g", "20GB", 1, 512),
    SeedSize("Logistic regression", _E, _O, "1g", "10GB", 1, 512),
    SeedSize("TPC-H", _D, _O, "1g", "10GB", 1, 1024, "2GB"),
    SeedSize("TPC-H", _E, _O, "4g", "10GB", 4, 1024, "1GB"),
    SeedSize("TPC-H on Azure", _D, _O, "1G", "25GB", 4, 1024, "2GB", "1024M"),
    SeedSize("TPC-H on Azure", _E, _O, "7G", "16GB", 4, 1024, "2GB"),
    SeedSize("PySpark Pi", _D, _O, "512m", "10GB", 1, 512, "1GB", python_workers=1),
    SeedSize("PySpark SQL", _D, _O, "1g", "15GB", 1, 1024, "1GB", python_workers=1),
    SeedSize("PySpark scikit-learn", _D, _O, "1g", "15GB", 1, 1024, "1GB", python_workers=1),
    SeedSize("PySpark TPC-H", _D, _O, "512m", "15GB", 1, 1024, "1GB", python_workers=1),
    SeedSize("Spark Pi on Kubernetes", _D, _G, "8g", "32g", 4),
    SeedSize("Spark Pi on Kubernetes", _E, _G, "12g", "32g", 8),
    SeedSize("Driver on SGX", _D, _G, "16g", "32g", 1),
    SeedSize("Orca, local", _D, _G, "3g", "32G", 4),
    SeedSize("Orca, standalone", _D, _G, "3g", "64G", 4),
)


def table() -> str:
    """Return the rows as a table of Markdown."""
    lines = [
        "| example | role | library OS | heap | cores | enclave, given | needed | enclave, chosen | threads | EPC |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += ["| " + " | ".join(_cells(row)) + " |" for row in SEED_SIZES]
    return "\n".join(lines)


def _cells(row: SeedSize) -> list[str]:
    chosen = compute_sizes(row.asked(enclave=False))
    needed = sum(chosen.parts.values())
    heap, given = jvm_size(chosen.heap), row.asked().enclave or 0
    fits = f"{occlum_size(given)}: {_verdict(row)}"
    return [
        row.example,
        row.role.value,
        row.library_os.value,
        heap,
        str(row.cores),
        fits,
        occlum_size(needed),
        _written(row, chosen),
        str(chosen.threads),
        f"{chosen.enclaves} × {occlum_size(chosen.enclave + (chosen.kernel_heap or 0))}",
    ]


def _verdict(row: SeedSize) -> str:
    try:
        compute_sizes(row.asked())
    except SizeRefused as error:
        return f"refused, {error.what}"
    return "fits"


def _written(row: SeedSize, chosen: Sizes) -> str:
    if row.library_os is LibraryOs.GRAMINE:
        return f"`{gramine_size(chosen.enclave)}`"
    return f"`{occlum_size(chosen.enclave)}`, kernel heap `{occlum_size(chosen.kernel_heap or 0)}`"
