"""Memory and time at size (issue A, "Must show" 4 and 7). ``REDOUBT_SOAK_GIB`` (default 10) is the large size."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.sealed.samples import write_dataset

from redoubt.keys.workspace import Workspace
from redoubt.sealed.dataset import Dataset
from redoubt.sealed.maintain import rewrap_dataset

pytestmark = pytest.mark.soak

GIB = 1024**3
LARGE_GIB = int(os.environ.get("REDOUBT_SOAK_GIB", "10"))
MEMORY_LIMIT_KIB = 200 * 1024
PARTS = 10_000

#: Runs in a process of its own, whose peak memory is measured by the kernel; prints seconds and KiB.
MEASURED = """
import resource, sys, time
from pathlib import Path
from redoubt.keys.workspace import Workspace
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.transfer import seal_file, seal_stream, unseal_file
keys, source, target = Workspace.open(Path(sys.argv[2])), Path(sys.argv[3]), Path(sys.argv[4])
sink = AtomicFile(target, replace=False)
def quiet(_): pass
start = time.monotonic()
if sys.argv[1] == "seal":
    seal_file(source, sink, keys=keys)
elif sys.argv[1] == "seal stream":
    seal_stream(source.open("rb"), sink, keys=keys, progress=quiet)
else:
    unseal_file(LocalFile(source), sink, keys=keys, where="it", progress=quiet)
print(time.monotonic() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def measured(operation: str, workspace: Workspace, source: Path, target: Path) -> tuple[float, int]:
    ended = subprocess.run(
        [sys.executable, "-c", MEASURED, operation, str(workspace.folder), str(source), str(target)],
        capture_output=True,
        text=True,
        check=True,
        timeout=3600,
    )
    seconds, kib = ended.stdout.split()
    print(f"{operation} {source.stat().st_size / GIB:.1f} GiB: {float(seconds):.1f} s, {int(kib) / 1024:.0f} MiB")
    return float(seconds), int(kib)


def sparse(path: Path, size: int) -> Path:
    """A file that takes no room: holes, and a mark in every GiB."""
    with path.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size, GIB):
            file.seek(offset)
            file.write(b"mark %d" % offset)
    return path


@pytest.mark.parametrize("operation", ["seal", "seal stream"])
def test_memory_is_flat_and_time_linear(operation: str, tmp_path: Path, workspace: Workspace) -> None:
    speed: dict[str, list[float]] = {operation: [], "unseal": []}
    for size in (GIB, LARGE_GIB * GIB):
        plain, sealed, again = sparse(tmp_path / "plain", size), tmp_path / "sealed", tmp_path / "again"
        for step, source, target in ((operation, plain, sealed), ("unseal", sealed, again)):
            seconds, kib = measured(step, workspace, source, target)
            assert kib < MEMORY_LIMIT_KIB
            speed[step].append(seconds / size)
        assert digest(again) == digest(plain)
        for path in (plain, sealed, again):
            path.unlink()
    for step, (small, large) in speed.items():
        assert large < 2 * small, f"{step}: {large / small:.2f} times as long for a byte"


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_rewrap_of_10_000_parts_touches_none(tmp_path: Path) -> None:
    keys = Workspace.init(tmp_path / "workspace")
    folder = tmp_path / "dataset"
    dataset = write_dataset(folder, keys, contents={f"{n:05d}": b"%d" % n for n in range(PARTS)})
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (folder / "data").rglob("*")}
    assert len(before) == PARTS + 1
    name = keys.resolve(None)
    keys.provider_for(name).rotate(name)
    old_reader = Dataset.open(str(folder), keys=keys)
    start = time.monotonic()
    rewrap_dataset(str(folder), keys=keys, provider_for=keys.provider_for)
    seconds = time.monotonic() - start
    print(f"re-wrap of {PARTS} parts: {seconds:.3f} s")
    assert seconds < 5
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in (folder / "data").rglob("*")} == before
    keys.provider_for(name).destroy(name, version=1)
    for reader in (old_reader, Dataset.open(str(folder), keys=keys), dataset):
        assert reader.open_part(reader.parts[-1]).read() == b"9999"
    start = time.monotonic()
    Dataset.open(str(folder), keys=keys).check_lengths()
    assert time.monotonic() - start < 5
