"""The image digest: everything of an interpreter's installation that can decide what a program does (H12).

For Python that is the interpreter, its standard library, the whole virtual environment, ``site-packages`` with their
``.pth`` files and ``sitecustomize``, and the folders that ``.pth`` files add; for Java the JDK. What the operating
system gives to every program (the C library, the shell's tools) is not in it: it is part of the machine's own
measurement.

The digest is SHA-256 over the sorted list of (path, kind, SHA-256 of the content or text of the link). Content is
hashed, never times. Nothing is executed to find out what to measure: the layout is read off the file system, because
an interpreter that is not trusted yet must not run beside the agent.

``__pycache__`` is left out, because programs run with ``PYTHONPYCACHEPREFIX``: Python then neither reads nor writes the
caches beside the sources. Cache files hold the times of their sources, so with them no two machines would have one
digest.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from redoubt.agent.hashing import FileHashing
from redoubt.crypto.encoding import encode_fields
from redoubt.errors import ProgramFailed
from redoubt.limits import MAX_CONFIG_BYTES, MAX_IMAGE_FILES

_LABEL: Final = b"redoubt/image/v1"
_CACHES: Final = "__pycache__"
_VERSIONED: Final = re.compile(r"python(3\.[0-9]+)t?")


@dataclass(frozen=True, slots=True)
class Installation:
    """What of an image belongs to one interpreter."""

    #: The path under which it is executed: of a virtual environment its own, since it is found by that.
    executable: Path
    roots: tuple[Path, ...]
    #: Where packages lie.
    sites: tuple[Path, ...] = ()


def image_digest(roots: Sequence[Path], *, meanwhile: Callable[[], object] = lambda: None) -> str:
    """Return the digest of everything below *roots*; *meanwhile* is called while other processes hash.

    Raises:
        ProgramFailed: something cannot be read, or there is too much.
    """
    try:
        entries = sorted(_entries(roots))
    except OSError as error:
        raise ProgramFailed(f"{error.filename} of the image cannot be read: {error.strerror}") from None
    sizes = {path: size for path, kind, _, size in entries if kind in ("file", "program")}
    with FileHashing(sizes) as hashing:
        meanwhile()
        digests = hashing.result()
    whole = hashlib.sha256(encode_fields(_LABEL))
    for path, kind, link, _ in entries:
        value = digests.get(path) or link.encode("utf-8", "surrogateescape")
        whole.update(encode_fields(path.encode("utf-8", "surrogateescape"), kind.encode(), value))
    return "sha256:" + whole.hexdigest()


def python_installation(executable: Path) -> Installation:
    """Return the installation of the Python interpreter *executable*.

    Raises:
        ProgramFailed: its layout is none that the agent knows, or a package in it cannot be measured.
    """
    real = Path(os.path.realpath(executable))
    prefix = real.parent.parent
    library = _library(real, prefix)
    _refuse_moved(executable.parent, real.parent)
    base = [real, library, *_beside(prefix, library)]
    own = [library / "site-packages", library / "dist-packages", prefix / "lib/python3/dist-packages"]
    own += [Path("/usr/local/lib", library.name, "dist-packages")] if prefix == Path("/usr") else []
    environment = executable.parent.parent
    if not (environment / "pyvenv.cfg").is_file():
        sites = [it for it in own if it.is_dir()]
        return _complete(real, [*base, *sites], sites)
    folder = Path(os.path.realpath(executable.parent))
    stable = folder / "python3"  # python, python3 and python3.11 are one interpreter: one name, one digest
    named = stable if os.path.realpath(stable) == str(real) else folder / executable.name
    environment = folder.parent
    system = [it for it in own if it.is_dir()] if _uses_system_packages(environment / "pyvenv.cfg", real) else []
    sites = [environment / "lib" / library.name / "site-packages", *system]
    return _complete(named, [*base, environment, *system], sites)


def java_installation(executable: Path) -> Installation:
    """Return the JDK that *executable* (``…/bin/java``) belongs to; raises ProgramFailed if it is in none."""
    real = Path(os.path.realpath(executable))
    home = real.parent.parent
    if real.parent.name != "bin" or not (home / "lib/modules").is_file():
        raise ProgramFailed(f"{executable} is not the bin/java of a JDK")
    return Installation(real, (home,))


def _library(real: Path, prefix: Path) -> Path:
    match = _VERSIONED.fullmatch(real.name)
    names = [match[0]] if match else sorted(it.name for it in prefix.glob("lib/python3.*"))
    found = [prefix / "lib" / name for name in names if (prefix / "lib" / name / "os.py").is_file()]
    if len(found) != 1:
        raise ProgramFailed(
            f"{real} has no standard library in {prefix}/lib, or several",
            hint="Name the interpreter itself, such as /usr/bin/python3.11, not a script that starts it.",
        )
    return found[0]


def _beside(prefix: Path, library: Path) -> list[Path]:
    """Return what else an interpreter loads from its prefix: a zipped standard library comes first on ``sys.path``.

    Interpreters outside of ``/usr`` look for shared libraries beside themselves before the system's.
    """
    zipped = prefix / "lib" / f"{library.name.replace('.', '')}.zip"
    shared = "libpython3*.so*" if prefix == Path("/usr") else "*.so*"
    return [*([zipped] if zipped.exists() else []), *sorted(prefix.glob(f"lib/{shared}"))]


def _refuse_moved(*folders: Path) -> None:
    """Refuse files beside the interpreter by which Python takes its library from elsewhere (``getpath``)."""
    for folder in dict.fromkeys(folders):
        for name in ("pyvenv.cfg", "pybuilddir.txt", *(it.name for it in folder.glob("*._pth"))):
            if (folder / name).exists():
                raise ProgramFailed(f"{folder / name} would make Python take its library from elsewhere")


def _uses_system_packages(config: Path, real: Path) -> bool:
    """Return whether a virtual environment of the interpreter *real* sees its packages, by the rules of ``site``.

    Raises:
        ProgramFailed: the environment takes its standard library from another interpreter.
    """
    homes, shown = [], []
    for line in _lines(config):
        key, equals, value = line.partition("=")
        match key.strip().lower() if equals else "":
            case "home":
                homes.append(value.strip())
            case "include-system-site-packages":
                shown.append(value.strip().lower())
    if not homes or any(os.path.realpath(Path(it) / real.name) != str(real) for it in homes):
        raise ProgramFailed(f"`home` in {config} is not the folder of {real}", hint="Make the environment anew.")
    return not shown or any(it != "false" for it in shown)


def _lines(file: Path) -> list[str]:
    """Return the lines of a file of Python's, as Python cuts them; raises ProgramFailed if it is too long to be one."""
    with file.open("rb") as opened:
        content = opened.read(MAX_CONFIG_BYTES + 1)
    if len(content) > MAX_CONFIG_BYTES:
        raise ProgramFailed(f"{file} is longer than {MAX_CONFIG_BYTES} bytes")
    return re.split(r"\r\n|\r|\n", os.fsdecode(content))


def _complete(executable: Path, roots: list[Path], sites: list[Path]) -> Installation:
    added = [it for site in sites for it in _added_by_pth(site)]
    for site in sites:
        _check_editable(site, added)
    return Installation(executable, tuple(dict.fromkeys([*roots, *added])), (*sites, *added))


def _added_by_pth(site: Path) -> Iterator[Path]:
    """Yield what the ``.pth`` files of *site* put on ``sys.path``, by the rules of ``site.addpackage``.

    Their ``import`` lines are code that lies in the file itself.
    """
    for file in sorted(site.glob("*.pth")):
        for line in _lines(file):
            if not line.strip() or line.startswith(("#", "import ", "import\t")):
                continue
            folder = site / line.rstrip()
            if not folder.exists():
                raise ProgramFailed(f"{file} names {folder}, which is not there: whoever makes it adds code")
            yield Path(os.path.realpath(folder))


def _check_editable(site: Path, added: list[Path]) -> None:
    """Refuse packages that an import hook loads from a folder that nothing else names."""
    for file in site.glob("*.dist-info/direct_url.json"):
        try:
            facts = json.loads(file.read_text(encoding="utf-8")[:MAX_CONFIG_BYTES])
            editable = bool(facts.get("dir_info", {}).get("editable"))
            source = Path(os.path.realpath(unquote(urlsplit(facts["url"]).path)))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProgramFailed(f"{file} does not say where its package comes from") from None
        if editable and not any(source in (it, *it.parents) for it in added):
            raise ProgramFailed(
                f"{file.parent.name} is an editable install through an import hook, which cannot be measured",
                hint="Install it as a package: pip install without -e.",
            )


def _entries(roots: Sequence[Path]) -> Iterator[tuple[str, str, str, int]]:
    """Yield (path, kind, link's text, size) of every file below *roots*, once; links out of them count as roots."""
    pending = [Path(os.path.realpath(it)) if it.is_dir() else it for it in roots]
    walked: set[Path] = set(pending)
    seen: set[str] = set()
    while pending:
        root = pending.pop()
        for path, status in _walk(root):
            if path in seen:
                continue
            seen.add(path)
            if len(seen) > MAX_IMAGE_FILES:
                raise ProgramFailed(f"the image has more than {MAX_IMAGE_FILES} files")
            if stat.S_ISLNK(status.st_mode):
                yield path, "link", os.readlink(path), 0
                target = Path(os.path.realpath(path))
                if target.exists() and walked.isdisjoint((target, *target.parents)):
                    walked.add(target)
                    pending.append(target)
            elif stat.S_ISREG(status.st_mode):
                yield path, "program" if status.st_mode & 0o111 else "file", "", status.st_size
            else:
                yield path, "other", "", 0


def _walk(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode):
        yield str(root), status
        return
    pending = [str(root)]
    while pending:
        with os.scandir(pending.pop()) as listing:
            for it in listing:
                if it.is_dir(follow_symlinks=False):
                    if it.name != _CACHES:
                        pending.append(it.path)
                else:
                    yield it.path, it.stat(follow_symlinks=False)
