"""The program descriptor: everything that decides what a program does, as one digest (hardening H12).

Source of the canonical form: RFC 8785 (JSON Canonicalization Scheme). The digest is SHA-256 over the canonical form of
``{"redoubt_program": {…}}``; the outer name keeps it apart from every other thing that Redoubt hashes.

Decides that a descriptor is complete and has one reading: relative POSIX file names without ``.`` and ``..``, digests
in lower-case hex, a known format, no unknown field. What is *not* in it is not measured, so the agent starts it
with nothing else: with exactly this environment and configuration. Arguments that may vary are not part of it; they
stand beside the digest in what the evidence binds, and the manifest gives patterns for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import rfc8785

from redoubt.errors import ProgramInvalid
from redoubt.evidence.claims import JSON
from redoubt.evidence.claims import digest as sha256_text
from redoubt.evidence.strict_json import parse_object
from redoubt.limits import MAX_PART_NAME_BYTES, MAX_PROGRAM_BYTES, MAX_PROGRAM_FILES, MAX_PROGRAM_TEXT

PROGRAM_FORMAT: Final = 1
_WRAPPER: Final = "redoubt_program"
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_FIELDS: Final = frozenset({"format", "files", "interpreter", "image", "jvm_options", "argv", "environment", "conf"})


@dataclass(frozen=True, slots=True)
class ProgramDescriptor:
    """One program with all that steers it. Raises ProgramInvalid when it is made with a value that has no place."""

    #: File name in the bundle → SHA-256 in hex: application, py-files, jars, archives. None for a program of the image.
    files: Mapping[str, str]
    #: Name in the bundle, or absolute path in the image, of what is executed.
    interpreter: str
    #: Digest of the file system image (or of the interpreter's whole installation) that the rest of it comes from.
    image: str
    jvm_options: tuple[str, ...]
    #: The command line without the arguments that may vary.
    argv: tuple[str, ...]
    #: The whole environment: there is nothing beside it.
    environment: Mapping[str, str]
    #: The whole effective configuration of the engine, Spark's and Hadoop's in one.
    conf: Mapping[str, str]

    def __post_init__(self) -> None:
        if len(self.files) > MAX_PROGRAM_FILES:
            raise ProgramInvalid(f"a program has at most {MAX_PROGRAM_FILES} files")
        for name, digest in self.files.items():
            _check_file_name(name)
            if not _SHA256.fullmatch(digest):
                raise ProgramInvalid(f"the digest of the file {name[:64]!r} is not SHA-256 in lower-case hex")
        if not _DIGEST.fullmatch(self.image):
            raise ProgramInvalid("the image's digest is not sha256:… in lower-case hex")
        _check_text(self.interpreter, "the interpreter")
        if self.interpreter not in self.files and not self.interpreter.startswith("/"):
            raise ProgramInvalid("the interpreter is neither a file of the program nor an absolute path in its image")
        for what, texts in (("argv", self.argv), ("the JVM options", self.jvm_options)):
            for it in texts:
                _check_text(it, what, may_be_empty=True)
        if not self.argv:
            raise ProgramInvalid("argv is empty")
        for what, table in (("the environment", self.environment), ("the configuration", self.conf)):
            for name, value in table.items():
                _check_text(name, what)
                _check_text(value, what, may_be_empty=True)
        if any("=" in name for name in self.environment):
            raise ProgramInvalid("a name in the environment holds '='")

    def canonical(self) -> bytes:
        """Return the one encoding that is hashed."""
        body: dict[str, JSON] = {
            "format": PROGRAM_FORMAT,
            "files": dict(self.files),
            "interpreter": self.interpreter,
            "image": self.image,
            "jvm_options": list(self.jvm_options),
            "argv": list(self.argv),
            "environment": dict(self.environment),
            "conf": dict(self.conf),
        }
        return _dump({_WRAPPER: body})

    @property
    def digest(self) -> str:
        """``sha256:…`` of the canonical form: what a manifest names."""
        return sha256_text(self.canonical())

    @classmethod
    def parse(cls, text: bytes) -> ProgramDescriptor:
        """Return the descriptor that *text* is; other spellings of the same JSON are one descriptor.

        Raises:
            ProgramInvalid: it is none, or too large.
        """
        document = parse_object(text, what="the program descriptor", limit=MAX_PROGRAM_BYTES, refusal=ProgramInvalid)
        body = document.get(_WRAPPER)
        if set(document) != {_WRAPPER} or not isinstance(body, Mapping):
            raise ProgramInvalid(f"the descriptor is not one object {_WRAPPER!r}")
        if set(body) != _FIELDS:
            wrong = sorted(set(body) ^ _FIELDS)[0]
            raise ProgramInvalid(f"the descriptor lacks or does not know the field {wrong[:64]!r}")
        if type(body["format"]) is not int or body["format"] != PROGRAM_FORMAT:
            raise ProgramInvalid("the descriptor's format is not one that this version knows")
        return cls(
            files=_texts(body["files"], "files"),
            interpreter=_text(body["interpreter"], "interpreter"),
            image=_text(body["image"], "image"),
            jvm_options=_list(body["jvm_options"], "jvm_options"),
            argv=_list(body["argv"], "argv"),
            environment=_texts(body["environment"], "environment"),
            conf=_texts(body["conf"], "conf"),
        )


def is_digest(text: object) -> bool:
    """Return whether *text* is a digest as Redoubt writes it."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _dump(document: dict[str, JSON]) -> bytes:
    try:
        return rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError):
        raise ProgramInvalid("the descriptor holds a text that is not Unicode") from None


def _check_file_name(name: str) -> None:
    _check_text(name, "a file name")
    parts = name.split("/")
    if len(name.encode()) > MAX_PART_NAME_BYTES or any(part in ("", ".", "..") for part in parts) or "\\" in name:
        raise ProgramInvalid(f"{name[:64]!r} is not a relative file name in its one spelling")


def _check_text(value: object, what: str, *, may_be_empty: bool = False) -> None:
    if not isinstance(value, str) or "\0" in value or len(value) > MAX_PROGRAM_TEXT:
        raise ProgramInvalid(f"{what}: a value is no text, too long, or holds a zero byte")
    if not value and not may_be_empty:
        raise ProgramInvalid(f"{what}: a value is empty")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ProgramInvalid(f"{what}: a value is not Unicode") from None


def _text(value: JSON, name: str) -> str:
    if not isinstance(value, str):
        raise ProgramInvalid(f"{name!r} of the descriptor is not a text")
    return value


def _list(value: JSON, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ProgramInvalid(f"{name!r} of the descriptor is not a list")
    return tuple(_text(it, name) for it in value)


def _texts(value: JSON, name: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ProgramInvalid(f"{name!r} of the descriptor is not an object")
    return {key: _text(it, name) for key, it in value.items()}
