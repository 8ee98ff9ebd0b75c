"""Manifests of Gramine and Occlum, checked: strict types by JSON Schema first, then what no schema can say.

    validate(Path("job.manifest").read_bytes(), kind=ManifestKind.GRAMINE)

The first fault is raised as a :class:`redoubt.errors.TeeManifestInvalid` whose text begins with the key. A subschema
names the error of its faults with ``x-code``; unknown and missing keys, types and units have errors of their own.

Sources: Gramine's "Manifest syntax" (1.9), Occlum's ``Occlum.json`` (0.31). Both take far more than is allowed here.
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

from redoubt.crypto.strict_json import parse_object
from redoubt.errors import (
    TeeFileInvalid,
    TeeKeyMissing,
    TeeKeyUnknown,
    TeeManifestInvalid,
    TeeToolsMissing,
    TeeValueInvalid,
    by_code,
)
from redoubt.limits import MAX_TEE_MANIFEST_BYTES
from redoubt.tee.gramine_rules import check_gramine
from redoubt.tee.occlum_rules import check_occlum

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN: Final = 60


class ManifestKind(StrEnum):
    """What a file is the manifest of."""

    GRAMINE = "gramine"
    OCCLUM = "occlum"


def kind_of(name: str) -> ManifestKind:
    """Return the kind of the file called *name*: ``Occlum.json``, or whatever is TOML for Gramine."""
    return ManifestKind.OCCLUM if name.endswith(".json") else ManifestKind.GRAMINE


def validate(content: bytes, *, kind: ManifestKind) -> Mapping[str, Any]:
    """Return the manifest that *content* is.

    Raises:
        TeeFileInvalid: it is no TOML, or no JSON.
        TeeManifestInvalid: a key of it is wrong, and which.
        TeeToolsMissing: the library for schemas is not installed.
    """
    tree = _parse(content, kind)
    for fault in _schema(kind).iter_errors(tree):
        raise _error(fault)
    (check_gramine if kind is ManifestKind.GRAMINE else check_occlum)(tree)
    return tree


def _parse(content: bytes, kind: ManifestKind) -> dict[str, Any]:
    if kind is ManifestKind.OCCLUM:
        found: dict[str, Any] = parse_object(
            content, what="the file", limit=MAX_TEE_MANIFEST_BYTES, refusal=TeeFileInvalid
        )
        return found
    if len(content) > MAX_TEE_MANIFEST_BYTES:
        raise TeeFileInvalid(f"the file is larger than {MAX_TEE_MANIFEST_BYTES} bytes")
    try:
        return tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise TeeFileInvalid(f"the file is no TOML: {str(error)[:200]}") from None


@functools.cache
def _schema(kind: ManifestKind) -> Any:
    try:
        from jsonschema import Draft202012Validator, ValidationError, validators
    except ModuleNotFoundError:
        raise TeeToolsMissing("manifests are checked with the package jsonschema, which is not installed") from None

    def pattern(_: Any, wanted: str, text: object, __: object) -> Iterator[Any]:
        # Python's `$` also matches before a line end at the end, which ECMA's does not.
        if isinstance(text, str) and not re.fullmatch(wanted, text) and not _begins(wanted, text):
            yield ValidationError("does not have the form that is wanted")

    strict = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, it: type(it) is int)
    validator = validators.extend(Draft202012Validator, {"pattern": pattern}, type_checker=strict)
    text = (files("redoubt.tee") / "schemas" / f"{kind}.schema.json").read_text(encoding="utf-8")
    return validator(json.loads(text))


def _begins(wanted: str, text: str) -> bool:
    """Return whether a pattern that has no end matches the beginning of *text*."""
    return not wanted.endswith("$") and re.match(wanted, text) is not None


def _error(fault: Any) -> TeeManifestInvalid:
    path: list[str | int] = list(fault.absolute_path)
    if fault.validator == "required":
        missing = [it for it in fault.validator_value if it not in fault.instance]
        return TeeKeyMissing(f"{key_text([*path, missing[0]])}: is missing")
    if fault.validator == "additionalProperties" and isinstance(fault.validator_value, bool):
        unknown = sorted(set(fault.instance) - set(fault.schema.get("properties", ())))
        return TeeKeyUnknown(f"{key_text([*path, unknown[0]])}: is no key that a manifest may have")
    if "propertyNames" in fault.absolute_schema_path:
        return TeeKeyUnknown(f"{key_text([*path, fault.instance])}: is no name of a variable")
    cls = by_code().get(fault.schema.get("x-code", ""), TeeValueInvalid)
    assert issubclass(cls, TeeManifestInvalid)
    return cls(f"{key_text(path)}: {_wanted(fault)}")


def _wanted(fault: Any) -> str:
    """Return what is wrong with a value, and what is wanted; of a text only its beginning."""
    found = repr(fault.instance)
    shown = found if len(found) <= _SHOWN else f"{found[:_SHOWN]}…"
    match fault.validator:
        case "const":
            return f"is {shown}; it must be {json.dumps(fault.validator_value)}"
        case "enum":
            return f"is {shown}; it must be one of {', '.join(map(json.dumps, fault.validator_value))}"
        case "type":
            return f"is {shown}; it must be of the type {fault.validator_value}"
        case "not":
            return "must not be there"
        case "pattern":
            return f"is {shown}, which is not of the form {fault.validator_value}"
        case _:
            return f"is {shown}, against {fault.validator} {fault.validator_value}"


def key_text(path: Sequence[str | int]) -> str:
    """Return a key with its place as people write it: ``fs.mounts[2].path``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            plain = part if _PLAIN_NAME.fullmatch(part) else json.dumps(part[:_SHOWN]).replace(": ", ":")
            text += f".{plain}" if text else plain
    return text or "the manifest"
