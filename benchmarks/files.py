"""Sealing and unsealing one 1 GiB file, against ``cp`` + ``sync`` and ``openssl enc``. Warm cache, all cores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import Case, Result, interleave
from redoubt.keys.workspace import Workspace
from redoubt.sealed.local import AtomicFile, LocalFile
from redoubt.sealed.transfer import seal_file, unseal_file

GIB = 2**30


def run(folder: Path, *, rounds: int) -> list[Result]:
    """Return the results of sealing and of unsealing."""
    keys = Workspace.init(folder / "keys")
    plain, sealed, copy = folder / "plain", folder / "plain.sealed", folder / "copy"
    _fill(plain)
    seal_file(plain, AtomicFile(sealed, replace=False), keys=keys)

    def clean() -> None:
        copy.unlink(missing_ok=True)
        os.sync()
        for warm in (plain, sealed):
            with warm.open("rb", buffering=0) as file:
                buffer = bytearray(2**22)
                while file.readinto(buffer):
                    pass

    def cp(source: Path) -> None:
        subprocess.run(["cp", "--reflink=never", str(source), str(copy)], check=True)
        subprocess.run(["sync", str(copy)], check=True)

    def openssl(*direction: str) -> None:
        command = ["openssl", "enc", "-aes-256-ctr", *direction, "-K", "0" * 64, "-iv", "0" * 32]
        subprocess.run([*command, "-in", str(plain), "-out", str(copy)], check=True)
        subprocess.run(["sync", str(copy)], check=True)

    def unseal() -> None:
        source = LocalFile(sealed)
        unseal_file(source, AtomicFile(copy, replace=False), keys=keys, where="plain.sealed", progress=lambda _: None)
        source.close()

    def command(name: str, source: Path) -> None:
        arguments = [sys.executable, "-m", "redoubt.cli.main", name, str(source), str(copy)]
        subprocess.run([*arguments, "--workspace", str(folder / "keys")], check=True, capture_output=True)

    sealing = [
        Case("cp --reflink=never + sync", lambda: cp(plain), clean),
        Case("seal (library)", lambda: seal_file(plain, AtomicFile(copy, replace=False), keys=keys), clean),
        Case("redoubt seal (command)", lambda: command("seal", plain), clean),
        Case("openssl enc -aes-256-ctr + sync", lambda: openssl("-e"), clean),
    ]
    unsealing = [
        Case("cp --reflink=never + sync", lambda: cp(sealed), clean),
        Case("unseal (library)", unseal, clean),
        Case("redoubt unseal (command)", lambda: command("unseal", sealed), clean),
        Case("openssl enc -d -aes-256-ctr + sync", lambda: openssl("-d"), clean),
    ]
    return [
        interleave("seal 1 GiB", sealing, rounds=rounds),
        interleave("unseal 1 GiB", unsealing, rounds=rounds),
    ]


def _fill(path: Path) -> None:
    with path.open("wb") as file:
        for _ in range(GIB // 2**22):
            file.write(os.urandom(2**22))
