"""The program descriptor of a command line, and the private copy that is executed (hardening H12, H13).

    with measure(ProgramSpec(command=("python", "job.py"))) as program:
        program.descriptor.digest      # what the evidence binds and the manifest names
        program.arguments              # what may vary, beside it

Decides nothing about what may run: that is the manifest's. It only makes sure that what is described is all there is:
the copy, the interpreter's installation, a whole environment, a whole configuration.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from redoubt.agent.bundle import Bundle
from redoubt.agent.command import BUNDLE, Command, read_command
from redoubt.agent.conf import check_conf, properties
from redoubt.agent.engine import engine_versions
from redoubt.agent.environment import dropped_names, program_environment, resolve
from redoubt.agent.image import Installation, image_digest, java_installation
from redoubt.agent.jvm_options import check_java_option
from redoubt.errors import ProgramFailed
from redoubt.trust.program import ProgramDescriptor

_ARCHIVES: Final = (".zip", ".egg", ".whl")
_SEARCH_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramSpec:
    """What a caller wants to run."""

    #: A command line, or what an engine's own launcher made of one.
    command: tuple[str, ...] | Command
    #: Python modules, packages (folders) and archives that the program imports.
    py_files: tuple[Path, ...] = ()
    jars: tuple[Path, ...] = ()
    #: Anything else that it reads, found below ``$REDOUBT_FILES``.
    files: tuple[Path, ...] = ()
    jvm_options: tuple[str, ...] = ()
    #: Spark's configuration.
    conf: Mapping[str, str] = field(default_factory=dict)
    #: Redoubt's own part of it, which may name the agent's folders. It is measured as the rest.
    engine_conf: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


class MeasuredProgram:
    """A program that can be attested and then started, from its copy. Close it when the program has ended."""

    def __init__(
        self,
        descriptor: ProgramDescriptor,
        arguments: tuple[str, ...],
        bundle: Bundle,
        dropped: tuple[str, ...],
        engine: Mapping[str, str],
    ) -> None:
        self.descriptor = descriptor
        self.arguments = arguments
        self.bundle = bundle
        #: Variables of the caller that the program does not get although they would have steered it.
        self.dropped = dropped
        #: What runs it, by name and version, for the receipt.
        self.engine = engine

    def executable(self) -> str:
        """The path that is executed."""
        name = self.descriptor.interpreter
        return name if name.startswith("/") else str(self.bundle.folder / name)

    def argv(self, folders: Mapping[str, Path]) -> list[str]:
        """Return the command line, JVM options and varying arguments included; *folders* are the agent's others."""
        first, *rest = (resolve(it, {BUNDLE: self.bundle.folder, **folders}) for it in self.descriptor.argv)
        options = () if "JDK_JAVA_OPTIONS" in self.descriptor.environment else self.descriptor.jvm_options
        return [first, *options, *rest, *self.arguments]

    def environment(self, folders: Mapping[str, Path]) -> dict[str, str]:
        """Return the whole environment."""
        every = {BUNDLE: self.bundle.folder, **folders}
        return {name: resolve(value, every) for name, value in self.descriptor.environment.items()}

    def configuration(self, folders: Mapping[str, Path]) -> bytes | None:
        """Return ``spark-defaults.conf``, None for a program without settings."""
        every = {BUNDLE: self.bundle.folder, **folders}
        conf = {name: resolve(value, every) for name, value in self.descriptor.conf.items()}
        return properties(conf) if conf else None

    def close(self) -> None:
        """Remove the copy."""
        self.bundle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def measure(
    spec: ProgramSpec, *, caller: Mapping[str, str], meanwhile: Callable[[], object] = lambda: None
) -> MeasuredProgram:
    """Copy and hash the program of *spec*; *caller* is the environment in which it was asked for.

    *meanwhile* is called while the image is hashed, by other processes: to load what is needed next.

    Raises:
        ProgramFailed: it cannot be read, or would load code that nothing measures.
        ProgramInvalid: it has no descriptor, for its names or sizes.
    """
    search_path = caller.get("PATH", _SEARCH_PATH)
    command = spec.command
    if not isinstance(command, Command):
        command = read_command(command, search_path=search_path)
    check_conf(spec.conf)
    conf = {**spec.conf, **spec.engine_conf}
    java = command.java or _java_beside(command, caller, search_path)
    jvm_options = (*command.jvm_options, *map(_single_word, map(check_java_option, spec.jvm_options)))
    if (jvm_options or spec.jars) and java is None:
        raise ProgramFailed("jars or JVM options were given, but no JDK was found", hint="Set JAVA_HOME.")
    bundle = Bundle()
    try:
        archives = _copy(bundle, command, spec)
        bundle.seal()
        environment = program_environment(
            command,
            asked=spec.environment,
            java=java,
            jars=bool(spec.jars),
            conf=bool(conf),
            files=bool(spec.files),
            archives=archives,
            jvm_options=jvm_options,
        )
        roots = command.roots if java is None or command.java is not None else (*command.roots, *java.roots)
        descriptor = ProgramDescriptor(
            files=bundle.files,
            interpreter=command.interpreter,
            image=image_digest(roots, meanwhile=meanwhile),
            jvm_options=jvm_options,
            argv=command.argv,
            environment=environment,
            conf=conf,
        )
    except BaseException:
        bundle.close()
        raise
    sites = () if command.python is None else command.python.sites
    engine = engine_versions(sites, descriptor.interpreter)
    return MeasuredProgram(descriptor, command.arguments, bundle, dropped_names(caller), engine)


def _copy(bundle: Bundle, command: Command, spec: ProgramSpec) -> list[str]:
    for name, source in command.sources.items():
        bundle.add(name, source)
    archives = []
    for source in spec.py_files:
        name = f"lib/{source.name}"
        bundle.add(name, source)
        if source.suffix in _ARCHIVES:
            archives.append(name)
    for folder, sources in (("jars", spec.jars), ("files", spec.files)):
        for source in sources:
            bundle.add(f"{folder}/{source.name}", source)
    return archives


def _java_beside(command: Command, caller: Mapping[str, str], search_path: str) -> Installation | None:
    """Return the JDK that a Python program with Spark will start: the caller's ``JAVA_HOME``, or java on the path."""
    if command.python is None or not any((it / "pyspark").is_dir() for it in command.python.sites):
        return None
    home = caller.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else search_path)
    return None if found is None else java_installation(Path(found))


def _single_word(option: str) -> str:
    # JDK_JAVA_OPTIONS is split at white space, and knows quotes.
    if any(it.isspace() or it in "\"'" for it in option):
        raise ProgramFailed(f"the JVM option {option[:64]!r} holds white space or quotes")
    return option
