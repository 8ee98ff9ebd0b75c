"""A small Python installation, so that measuring a whole interpreter takes milliseconds instead of seconds."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

_LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "lib2to3", "ensurepip",
    "turtledemo", "pydoc_data", "config-*", "sqlite3", "*.a", "distutils", "sitecustomize.py",
)  # fmt: skip


def small_python(prefix: Path) -> Path:
    """Copy what a plain program needs of the interpreter that runs the tests, and return the copy's executable."""
    real = Path(os.path.realpath(sys.executable))
    name = f"python3.{sys.version_info.minor}"
    library = Path(os.__file__).parent
    (prefix / "bin").mkdir(parents=True)
    shutil.copy(real, prefix / "bin" / name)
    shutil.copytree(library, prefix / "lib" / name, ignore=_LEFT_OUT, ignore_dangling_symlinks=True)
    (prefix / "lib" / name / "site-packages").mkdir()
    for shared in real.parent.parent.glob("lib/libpython3*.so*"):
        shutil.copy(shared, prefix / "lib" / shared.name, follow_symlinks=False)
    (prefix / "bin/python3").symlink_to(name)
    return prefix / "bin" / name
