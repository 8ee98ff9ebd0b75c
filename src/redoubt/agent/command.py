"""Command lines as programs: what is executed, what code it names, and which arguments may vary.

Decides for ``python [options] SCRIPT|-m MODULE|-c CODE …``, ``java [options] -jar JAR|CLASS …``, scripts with a ``#!``
line and executables, which of the words belong to the program and which are its arguments: everything after the
script, module, jar, class or executable. A word that would make an interpreter load code which nothing measures is
refused.

``{redoubt:bundle}`` and the like stand for folders that have other names in each run; nobody else may write them.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redoubt.agent.image import Installation, java_installation, python_installation
from redoubt.agent.jvm_options import WITH_VALUE, check_java_option, refuse_mark
from redoubt.errors import ProgramFailed
from redoubt.limits import MAX_SHEBANG_BYTES

BUNDLE: Final = "{redoubt:bundle}"
_ALONE: Final = frozenset("bBdOPqsSuvx")
_WITH_VALUE: Final = frozenset("cmWX")
#: Of Python: -E and -I ignore the environment, and with it PYTHONPYCACHEPREFIX; -i ends in a prompt.
_REFUSED: Final = frozenset("EIi?hV")
_CLASS_PATH: Final = frozenset({"-cp", "-classpath", "--class-path"})
#: Programs that would run code named by an argument, which is not copied and not hashed. Their scripts can be programs.
_INTERPRETERS: Final = re.compile(
    r"((ba|da|z|k|mk|tc|c|a|fi)?sh|rbash|busybox|toybox|env|nice|nohup|timeout|setsid|stdbuf|time|xargs|sudo|su|chroot"
    r"|setpriv|unshare|nsenter|strace|gdb|ld[-.].*|[gm]?awk|sed|perl|ruby|irb|node|nodejs|deno|bun|php|lua|luajit|tclsh"
    r"|Rscript|R|julia|pypy|pyspark|spark-submit|spark-class|jshell|groovy|scala|kotlin|make)([0-9][0-9.]*[a-z]?)?"
)


#: Python modules that do the same.
_RUNNERS: Final = re.compile(
    r"(pdb|bdb|cProfile|profile|trace|runpy|code|idlelib|timeit|doctest|unittest|test|pip|ensurepip|pytest|IPython"
    r"|ipykernel|jupyter\w*|notebook|coverage|debugpy|viztracer|scalene|memory_profiler|line_profiler|kernprof"
    r"|torch\.distributed\.(run|launch)|accelerate|deepspeed|mpi4py|streamlit|pyspark)(\.|$)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A program as its command line says it, its own files not yet copied."""

    #: Path in the image, or the name of a file of the bundle.
    interpreter: str
    #: The words that do not vary, the interpreter first, with ``{redoubt:bundle}`` where a copy is meant.
    argv: tuple[str, ...]
    arguments: tuple[str, ...]
    #: Name in the bundle → what is copied.
    sources: Mapping[str, Path] = field(default_factory=dict)
    roots: tuple[Path, ...] = ()
    python: Installation | None = None
    java: Installation | None = None
    jvm_options: tuple[str, ...] = ()


def read_command(words: Sequence[str], *, search_path: str) -> Command:
    """Return the program that *words* start; names without ``/`` are looked for in *search_path*.

    Raises:
        ProgramFailed: they start none, or one that would load code which nothing measures.
    """
    for word in words:
        refuse_mark(word)
    if not words or not words[0]:
        raise ProgramFailed("no command was given")
    executable = _find(words[0], search_path)
    real = Path(os.path.realpath(executable))
    shebang = _shebang(real)
    if shebang is not None:
        return _script(real, shebang, words[1:], search_path)
    if real.name.startswith("python"):
        return _python(python_installation(executable), words[1:])
    if real.name == "java":
        return _java(java_installation(executable), words[1:])
    if _INTERPRETERS.fullmatch(real.name) or _INTERPRETERS.fullmatch(executable.name):
        raise ProgramFailed(
            f"{executable.name} would run code that an argument names, which nothing measures",
            hint="Make the script executable, with its interpreter in a first line `#!…`, and name the script.",
        )
    name = f"app/{executable.name}"  # as it was called: programs of many names go by their first word
    return Command(interpreter=name, argv=(f"{BUNDLE}/{name}",), arguments=tuple(words[1:]), sources={name: real})


def _find(word: str, search_path: str) -> Path:
    found = shutil.which(word, path=search_path)
    if found is None:
        what = "is not executable" if Path(word).is_file() else "does not exist, or is not executable"
        python = Path(word).is_file() and word.endswith(".py")
        raise ProgramFailed(
            f"{word!r} {what}", hint=f"Name its interpreter before it: python {word}" if python else None
        )
    path = Path(found).absolute()
    return Path(os.path.realpath(path.parent)) / path.name  # its last name may be a link that means something


# --- scripts ----------------------------------------------------------------------------------------------------------
def _shebang(path: Path) -> list[str] | None:
    try:
        with path.open("rb") as file:
            head = file.read(MAX_SHEBANG_BYTES)
    except OSError as error:
        raise ProgramFailed(f"{path} cannot be read: {error.strerror}") from None
    if not head.startswith(b"#!"):
        return None
    line = os.fsdecode(head[2:].split(b"\n", 1)[0]).strip()
    return line.split(None, 1) or [""]


def _script(path: Path, shebang: list[str], arguments: Sequence[str], search_path: str) -> Command:
    if path.name.startswith(("python", "java")):
        raise ProgramFailed(
            f"{path} is a script that starts an interpreter", hint="Name the interpreter itself, not a shim of it."
        )
    interpreter, *options = shebang
    if Path(interpreter).name == "env":
        if not options or options[0].startswith("-") or len(options[0].split()) != 1:
            raise ProgramFailed(f"the first line of {path} is not `#!/usr/bin/env PROGRAM`")
        interpreter, options = options[0], []
    executable = _find(interpreter, search_path)
    real = Path(os.path.realpath(executable))
    if _shebang(real) is not None:
        raise ProgramFailed(f"the interpreter of {path} is a script itself")
    if real.name.startswith("python"):
        return _python(python_installation(executable), [*options, str(path), *arguments])
    name = f"app/{path.name}"
    return Command(
        interpreter=str(executable),
        argv=(str(executable), *options, f"{BUNDLE}/{name}"),
        arguments=tuple(arguments),
        sources={name: path},
        roots=(executable,),
    )


# --- Python -----------------------------------------------------------------------------------------------------------
def _python(installation: Installation, words: Sequence[str]) -> Command:
    fixed: list[str] = []
    sources: dict[str, Path] = {}
    rest = list(words)
    for kind, word in _python_options(rest):
        fixed.append(word)
        if kind == "m" and _RUNNERS.match(word):
            raise ProgramFailed(
                f"the module {word!r} would run code that an argument names, which nothing measures",
                hint="Name the script itself, and give modules with --py-files.",
            )
        if kind in ("c", "m"):
            break
    else:
        if not rest or rest[0] == "-":
            raise ProgramFailed("the command names no script, module or code: a prompt cannot be measured")
        script = Path(rest.pop(0))
        name = f"app/{script.name}"
        sources[name] = script
        fixed.append(f"{BUNDLE}/{name}")
    executable = str(installation.executable)
    return Command(
        interpreter=executable,
        argv=(executable, *fixed),
        arguments=tuple(rest),
        sources=sources,
        roots=installation.roots,
        python=installation,
    )


def _python_options(rest: list[str]) -> Iterator[tuple[str, str]]:
    """Take Python's own options off *rest*, and yield (letter, word) of each, ``-c`` and ``-m`` last."""
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        for place, letter in enumerate(word[1:], start=1):
            if letter in _REFUSED or letter not in _ALONE | _WITH_VALUE:
                raise ProgramFailed(f"Python's option {word!r} is not one that the agent starts programs with")
            if letter in _WITH_VALUE:
                value = word[place + 1 :]
                if not value:
                    if not rest:
                        raise ProgramFailed(f"Python's option {word!r} lacks its value")
                    value = rest.pop(0)
                if letter == "X" and value.startswith("pycache_prefix"):
                    raise ProgramFailed("the agent alone says where compiled Python lies")
                if place > 1:
                    yield "", word[:place]
                yield "", f"-{letter}"
                yield letter, value
                break
        else:
            yield "", word


# --- Java -------------------------------------------------------------------------------------------------------------
def _java(installation: Installation, words: Sequence[str]) -> Command:
    options: list[str] = []
    fixed: list[str] = []
    sources: dict[str, Path] = {}
    rest = list(words)
    while rest and rest[0].startswith(("-", "@")):
        word = rest.pop(0)
        if word in _CLASS_PATH or word == "-jar":
            if not rest:
                raise ProgramFailed(f"Java's option {word} lacks its value")
            fixed += [word, _copied(rest.pop(0).split(":") if word != "-jar" else [rest.pop(0)], sources)]
            if word == "-jar":
                break
            continue
        options.append(check_java_option(word))
        if word in WITH_VALUE and rest:
            if rest[0].startswith(("@", "-")):  # java reads files of options wherever a word begins so
                raise ProgramFailed(f"Java's option {word} lacks its value")
            options.append(rest.pop(0))
    else:
        if not rest:
            raise ProgramFailed("the command names no jar or class")
        if not sources:
            raise ProgramFailed("a class is given without a class path: Java would search the working folder")
        if rest[0].endswith(".java"):
            raise ProgramFailed("a source file would be compiled and run from where it lies; give classes or a jar")
        fixed.append(rest.pop(0))
    executable = str(installation.executable)
    return Command(
        interpreter=executable,
        argv=(executable, *fixed),
        arguments=tuple(rest),
        sources=sources,
        roots=installation.roots,
        java=installation,
        jvm_options=tuple(options),
    )


def _copied(paths: Sequence[str], sources: dict[str, Path]) -> str:
    copies = []
    if not any(paths):
        raise ProgramFailed("an empty class path means the working folder to Java")
    for text in filter(None, paths):
        folder, star, _ = text.partition("/*")
        source = Path(folder)
        name = f"jars/{len(sources)}-{source.name}"
        sources[name] = source
        copies.append(f"{BUNDLE}/{name}{star}")
    return ":".join(copies)
