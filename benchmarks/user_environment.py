"""A Python environment as a user installs it: Redoubt with Spark, without what development and tests add.

Made of the files of the environment that runs the benchmark, so nothing is fetched.
"""

from __future__ import annotations

import compileall
import importlib.metadata
import shutil
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import redoubt
import redoubt_dev

_REQUIREMENTS = ("redoubt[spark,broker]", "redoubt-dev")


def user_environment(folder: Path) -> Path:
    """Make the environment in the new *folder* and return its interpreter."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python3*/site-packages")
    for name in sorted(_closure(_REQUIREMENTS)):
        distribution = importlib.metadata.distribution(name)
        own = {"redoubt": redoubt, "redoubt-dev": redoubt_dev}.get(name)
        if own is not None:  # installed in place here, for development
            source = Path(str(own.__file__)).parent
            shutil.copytree(source, packages / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        for file in distribution.files or ():
            place = packages / file
            source = Path(str(distribution.locate_file(file)))
            if (own is not None and ".dist-info" not in str(file)) or ".." in file.parts or "__pycache__" in file.parts:
                continue  # scripts beside the packages, and what an editable install has
            if file.name == "direct_url.json":
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, place)
    compileall.compile_dir(packages, quiet=1, workers=0)  # as pip does
    return folder / "bin" / Path(sys.executable).name


def _closure(texts: tuple[str, ...]) -> set[str]:
    """Return the names of all distributions that *texts* ask for, with what those ask for."""
    found: set[tuple[str, str]] = set()
    pending = [Requirement(it) for it in texts]
    while pending:
        requirement = pending.pop()
        for extra in ("", *requirement.extras):
            key = (canonicalize_name(requirement.name), extra)
            if key not in found:
                found.add(key)
                pending += _requires(*key)
    return {name for name, _ in found}


def _requires(name: str, extra: str) -> Iterator[Requirement]:
    for text in importlib.metadata.distribution(name).requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement
