"""A ``spark-submit`` command line as an attested program: what is copied, what is set, what is refused.

    submission = Submission.of("pi.py", ("10",), settings={"spark.master": "local[2]"})
    spec = submission.program(python=Path(sys.executable))       # for redoubt.agent.measure

The program is ``spark-submit`` itself, of the Spark in the interpreter's packages, with the application, jars and files
taken from the private copy and every setting in a file that the agent writes. So an unmodified application that calls
``SparkSession.builder.getOrCreate()`` has Redoubt's configuration. A setting that the application itself makes in
code is compared by the guard in the JVM (``io.redoubt.spark.ConfigurationGuard``).
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from redoubt.agent.command import BUNDLE, Command
from redoubt.agent.image import python_installation
from redoubt.agent.measure import ProgramSpec
from redoubt.errors import NotFound, UsageError
from redoubt.spark import launch
from redoubt.spark.cluster.conf import address_of
from redoubt.spark.conf import Setting
from redoubt.spark.conf_legacy import clean, without_effect
from redoubt.spark.conf_merge import merge
from redoubt.spark.conf_program import ENVIRONMENT, JAR, is_local, refuse_services, stays_here, submit_settings
from redoubt.spark.jar import jar_path
from redoubt.spark.submit_options import ARCHIVES, DRIVER_CLASS_PATH, FILES, JARS, PY_FILES

_ROOM: Final = Path(__file__).parent
#: Setting → folder in the bundle of the files that it names.
_FOLDERS: Final = {
    JARS.key: "jars",
    PY_FILES.key: "py-files",
    FILES.key: "files",
    ARCHIVES.key: "archives",
    DRIVER_CLASS_PATH.key: "driver-jars",
    "spark.executor.extraClassPath": "executor-jars",
}
_COLONS: Final = frozenset({DRIVER_CLASS_PATH.key, "spark.executor.extraClassPath"})
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):(.*)")
_MASTER: Final = "spark.master"
#: As Spark reads it; a program that makes no context would never be told that it is wrong.
_LOCAL: Final = re.compile(r"local(\[([0-9]+|\*)(\s*,\s*[0-9]+)?\])?")
#: How Spark itself names programs of its own in the place of an application.
_OWN_SERVICES: Final = frozenset({"spark-internal", "pyspark-shell", "spark-shell", "sparkr-shell", "run-example"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """An application with its settings, read and cleaned, not yet copied."""

    application: Path
    arguments: tuple[str, ...]
    main_class: str | None
    verbose: bool
    #: The effective configuration: Redoubt's with the user's.
    conf: Mapping[str, str]
    #: What of it is not Redoubt's or names no copied files: for the agent to check.
    user_conf: Mapping[str, str]
    #: Name in the bundle → what is copied.
    sources: Mapping[str, Path] = field(default_factory=dict)
    #: What the user should know of the settings.
    notices: tuple[str, ...] = ()

    @property
    def master(self) -> str:
        """Where its executors are."""
        return self.conf[_MASTER]

    @classmethod
    def of(
        cls,
        application: str,
        arguments: tuple[str, ...],
        *,
        settings: Mapping[str, str],
        main_class: str | None = None,
        verbose: bool = False,
        allow: Set[str] = frozenset(),
    ) -> Self:
        """Return the submission of *application*; *settings* are all that a user gave, in whichever way.

        Raises:
            OptionRefused: a setting weakens Redoubt's, or turns on what is off.
            NotFound, UsageError: a file is missing, or the application is none.
        """
        effective = configuration(settings, allow=allow)
        app = _local_file(application, what="the application")
        _check_application(app, application, main_class)
        sources = {f"app/{app.name}": app}
        conf = dict(effective.conf)
        for key, folder in _FOLDERS.items():
            given = effective.files.get(key)
            if given:
                separator = ":" if key in _COLONS else ","
                copied = [it for text in given.split(separator) if text for it in _copied(text, folder, sources)]
                conf[key] = separator.join([*([conf[key]] if key in conf else []), *copied])
        return cls(
            application=app,
            arguments=arguments,
            main_class=main_class,
            verbose=verbose,
            conf=conf,
            user_conf=effective.user,
            sources=sources,
            notices=effective.notices,
        )

    def program(self, *, python: Path, environment: Mapping[str, str] | None = None) -> ProgramSpec:
        """Return what the agent measures and starts with the interpreter *python*; *environment* is asked for by name.

        Raises:
            ProgramFailed: the interpreter cannot be measured.
            NotFound, UsageError: there is none, or it has no Spark.
            JarMissing: the package lacks its jar.
        """
        if not python.is_file():
            raise NotFound(f"the interpreter {python} does not exist")
        installation = python_installation(python)
        if not any((site / "pyspark").is_dir() for site in installation.sites):
            raise UsageError(f"{python} has no package pyspark", hint='Install it there: pip install "redoubt[spark]".')
        words = [
            *(["--loopback"] if stays_here(self.master) else []),
            *(["--verbose"] if self.verbose else []),
            *(["--class", self.main_class] if self.main_class is not None else []),
            f"{BUNDLE}/app/{self.application.name}",
        ]
        executable = str(installation.executable)
        command = Command(
            interpreter=executable,
            argv=(executable, f"{BUNDLE}/redoubt/launch.py", *words),
            arguments=self.arguments,
            sources={
                **self.sources,
                JAR: jar_path(),
                "redoubt/launch.py": Path(launch.__file__),
                "lib/pyspark_redoubt.py": _ROOM / "discovered.py",
            },
            roots=installation.roots,
            python=installation,
        )
        return ProgramSpec(
            command=command,
            conf=self.user_conf,
            engine_conf={key: value for key, value in self.conf.items() if key not in self.user_conf},
            environment={**ENVIRONMENT, **(environment or {})},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What becomes of a user's settings."""

    settings: tuple[Setting, ...]
    conf: Mapping[str, str]
    #: The user's own: none of Redoubt's but what was given up for them.
    user: Mapping[str, str]
    #: Settings that name files, as the user wrote them.
    files: Mapping[str, str]
    notices: tuple[str, ...]


def configuration(given: Mapping[str, str], *, allow: Set[str] = frozenset()) -> Configuration:
    """Return the effective configuration of a program whose user *given* these settings.

    Raises:
        OptionRefused: a setting weakens Redoubt's, or turns on what is off.
        UsageError: the master is none that programs can be submitted to.
    """
    cleaned = clean(given)
    user = {_MASTER: "local[*]", **cleaned.conf}
    master = user[_MASTER]
    _check_master(master, user.get("spark.submit.deployMode", "client"))
    idle = without_effect(user, cluster=not is_local(master))
    user = dict(idle.conf)
    refuse_services(user, master=master)
    files = {key: user.pop(key) for key in _FOLDERS if key in user}
    base = submit_settings(master)
    conf = merge(base, user, allow=allow)
    ours = {it.key for it in base}
    own = {key: value for key, value in user.items() if key not in ours or key in allow}
    return Configuration(settings=base, conf=conf, user=own, files=files, notices=(*cleaned.notices, *idle.notices))


def _check_master(master: str, mode: str) -> None:
    if master.startswith("k8s://"):
        raise UsageError(f"{master}: Kubernetes is not there yet", hint="Use local[n] or spark://host:port.")
    if not is_local(master) and not master.startswith("spark://"):
        raise UsageError(
            f"{master[:64]!r} is no master that programs can be submitted to", hint="Use local[n] or spark://host:port."
        )
    if not is_local(master):
        address_of(master)
    if mode != "client":
        raise UsageError(
            f"deploy mode {mode[:32]!r} would start a driver without an agent", hint="Leave --deploy-mode out."
        )
    if is_local(master) and not _LOCAL.fullmatch(master):
        raise UsageError(f"{master[:64]!r} is no local master", hint="Use local, local[2] or local[*].")


def _check_application(path: Path, given: str, main_class: str | None) -> None:
    if not path.is_file():
        raise UsageError(f"{given} is no file")
    if path.suffix == ".py":
        return
    if path.suffix != ".jar":
        raise UsageError(f"{given} is neither a Python file nor a jar")
    if main_class is None:
        raise UsageError(f"{given} needs its main class", hint="Name it with --class.")


def _local_file(text: str, *, what: str) -> Path:
    scheme = _SCHEME.fullmatch(text)
    if text in _OWN_SERVICES:
        raise UsageError(f"{text} would start a service or shell of Spark's own (H31), not an application")
    if scheme is not None and scheme[1] in ("file", "local"):
        text = re.sub("^///", "/", scheme[2])
    elif scheme is not None:
        raise UsageError(
            f"{what} {text[:128]!r} would be fetched at run time, measured by nobody", hint="Give a local file."
        )
    path = Path(text)
    if not path.exists():
        raise NotFound(f"{what} {text} does not exist")
    return path


def _copied(text: str, folder: str, sources: dict[str, Path]) -> list[str]:
    """Add the file or files that *text* names to *sources*, and return what their copies will be called."""
    name, hash_, alias = text.partition("#")
    found = sorted(glob.glob(name)) if glob.has_magic(name) and not Path(name).exists() else [name]
    if not found:
        raise NotFound(f"{name} matches nothing")
    for it in found:
        path = _local_file(it, what="the file")
        sources.setdefault(f"{folder}/{path.name}", path)
    return [f"{BUNDLE}/{folder}/{Path(it).name}{hash_}{alias}" for it in found]
