"""Reading manifests: TOML (as owners write it) or canonical JSON (as it is signed and stored) to one value and back.

Source of the canonical form: RFC 8785. The digest is SHA-256 over the canonical form of ``{"redoubt_manifest": {…}}``.
Lists that are sets are sorted and defaults written out, so the order of fields, tables and sets, comments and the
spelling of TOML change nothing.

Decides everything that can be decided about one manifest alone: unknown or missing fields, empty sets, duplicates,
references that lead nowhere, TEE profiles that would pin nothing, simulated evidence for hardware-class keys. Every
problem is named with the path of its field. Signatures and history are :mod:`redoubt.trust.signing`'s.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import rfc8785

from redoubt.errors import (
    KeyError_,
    ManifestError,
    ManifestField,
    ManifestMalformed,
)
from redoubt.evidence.claims import JSON
from redoubt.evidence.claims import digest as sha256_text
from redoubt.evidence.strict_json import parse_object
from redoubt.keys.names import LABEL, KeyName
from redoubt.limits import (
    MAX_ARGUMENTS,
    MAX_MANIFEST_BYTES,
    MAX_MANIFEST_LINE_DOTS,
    MAX_MANIFEST_VERSION,
)
from redoubt.trust.encode import WRAPPER, to_tree
from redoubt.trust.fields import (
    Fields,
    Problem,
    Problems,
    integer,
    matching,
    one_of,
    sequence,
    text,
    value_set,
)
from redoubt.trust.policy import Action, Binding, Dataset, Grant, Manifest, Program, RoleGrant
from redoubt.trust.public_key import parse_public_key
from redoubt.trust.read_tee import BINDING, HEX, optional_text, read_tee
from redoubt.trust.references import check_references

MANIFEST_FORMAT: Final = 1
_DIGEST = matching(re.compile(r"sha256:[0-9a-f]{64}"), "a digest: sha256: and 64 of 0-9, a-f")
_BROKER = matching(re.compile(r"[0-9a-f]{64}"), "a broker's id: 64 of 0-9, a-f, as `redoubt broker verify` shows it")
_NAME = matching(LABEL, "a name: 1 to 63 of a-z, 0-9, '-' and '_'")


def parse_manifest(toml: bytes) -> Manifest:
    """Return the manifest that an owner wrote.

    Raises:
        ManifestError: it is not TOML, or something is wrong with a field: the text names the path of each.
    """
    return _checked(read_toml(toml))


def draft_problems(toml: bytes) -> tuple[Problem, ...]:
    """Return everything that is wrong with a manifest that may be unfinished, its references included.

    Raises:
        ManifestMalformed: it is not TOML.
    """
    problems = Problems()
    check_references(_read(read_toml(toml), problems), problems)
    return tuple(problems.found)


def parse_canonical(payload: bytes) -> Manifest:
    """Return the manifest with exactly this canonical form.

    Raises:
        ManifestError: it is not a canonical form, or not of a valid manifest.
    """
    document = parse_object(payload, what="the manifest", limit=MAX_MANIFEST_BYTES, refusal=ManifestMalformed)
    if set(document) != {WRAPPER}:
        raise ManifestMalformed(f"the manifest is not one object {WRAPPER!r}")
    manifest = _checked(document[WRAPPER])
    if canonical(manifest) != payload:
        raise ManifestMalformed("the manifest is not in its one canonical form")
    return manifest


def canonical(manifest: Manifest) -> bytes:
    """Return the bytes that are hashed, signed and stored."""
    tree: dict[str, JSON] = {WRAPPER: {"format": MANIFEST_FORMAT, **to_tree(manifest)}}
    return rfc8785.dumps(tree)


def manifest_digest(manifest: Manifest) -> str:
    """Return ``sha256:…`` of the canonical form: what pins a manifest."""
    return sha256_text(canonical(manifest))


# --- the whole --------------------------------------------------------------------------------------------------------
def read_toml(toml: bytes) -> dict[str, Any]:
    """Return what *toml* says, be it a manifest or not; raises ManifestMalformed if it is too long or no TOML."""
    if len(toml) > MAX_MANIFEST_BYTES:
        raise ManifestMalformed(f"the manifest is longer than {MAX_MANIFEST_BYTES} bytes")
    if any(line.count(b".") > MAX_MANIFEST_LINE_DOTS for line in toml.split(b"\n")):
        raise ManifestMalformed(f"a line of the manifest has more than {MAX_MANIFEST_LINE_DOTS} dots")
    try:
        return tomllib.loads(toml.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ManifestMalformed(f"the manifest is not TOML: {str(error)[:200]!r}") from None


def _checked(tree: object) -> Manifest:
    problems = Problems()
    manifest = _read(tree, problems)
    if not problems.found:
        check_references(manifest, problems)
    problems.raise_any()
    return replace(
        manifest,
        grants=tuple(sorted(manifest.grants, key=_order)),
        roles=tuple(sorted(manifest.roles, key=lambda it: (it.program, it.tee, it.domain))),
    )


def _read(tree: object, problems: Problems) -> Manifest:
    """Return what *tree* says as far as it says it; only without a problem is it a manifest."""
    top = Fields(tree, (), problems)
    top.take("format", integer(MANIFEST_FORMAT, MANIFEST_FORMAT), default=MANIFEST_FORMAT)
    version = top.take("version", integer(1, MAX_MANIFEST_VERSION), default=1)
    previous = top.take("previous", optional_text(_DIGEST), default=None, optional=True)
    if (previous is None) != (version == 1):
        top.problem("is the digest of the manifest before, and only version 1 has none", "previous")
    least = top.take("least_binding", BINDING, default=Binding.AGENT, optional=True)
    manifest = Manifest(
        version=version,
        previous=previous,
        least_binding=least,
        owners=_keys(top, "owners"),
        recipients=_keys(top, "recipients", optional=True),
        brokers=_brokers(top),
        datasets={name: _dataset(fields) for name, fields in top.tables("datasets")},
        programs={name: _program(fields, least) for name, fields in top.tables("programs")},
        tees={name: found for name, fields in top.tables("tees") if (found := read_tee(fields)) is not None},
        grants=tuple(_grant(fields) for fields in top.list("grants")),
        roles=tuple(_role(fields) for fields in top.list("roles", optional=True)),
    )
    top.close()
    return manifest


def _order(grant: Grant) -> tuple[str, str, str]:
    return grant.program, grant.tee, grant.dataset


def _keys(top: Fields, name: str, *, optional: bool = False) -> dict[str, bytes]:
    found = {}
    for owner, fields in top.tables(name, optional=optional):
        found[owner] = fields.take("key", parse_public_key, default=b"")
        fields.close()
    return found


def _brokers(top: Fields) -> dict[str, str]:
    found = {}
    for name, fields in top.tables("brokers", optional=True):
        found[name] = fields.take("id", _BROKER, default="")
        fields.close()
    return found


def _dataset(fields: Fields) -> Dataset:
    owners = fields.set("owners", _NAME)
    found = Dataset(
        id=fields.take("id", _uuid, default=UUID(int=0)),
        owners=owners,
        approvals=fields.take("approvals", integer(1, max(len(owners), 1)), default=len(owners), optional=True),
        keys=fields.set("keys", _key_name),
        recipients=fields.set("recipients", _NAME, optional=True),
    )
    fields.close()
    return found


def _uuid(value: object) -> UUID:
    given = text(value)
    try:
        found = UUID(given)
    except ValueError:
        found = UUID(int=0)
    if str(found) != given or not found.int:
        raise ManifestField("is not a UUID in lower case with hyphens")
    return found


def _key_name(value: object) -> KeyName:
    try:
        return KeyName.parse(text(value))
    except KeyError_ as error:
        raise ManifestField(error.what) from None


# --- programs ---------------------------------------------------------------------------------------------------------
def _program(fields: Fields, least: Binding) -> Program:
    binding = fields.take("binding", BINDING, default=least, optional=True)
    if not binding.covers(least):
        fields.problem(f"is weaker than least_binding, which is {least}", "binding")
    measurements = {}
    for tee, values in fields.values("measurements", optional=True).items():
        try:
            measurements[_NAME(tee)] = value_set(values, HEX)
        except ManifestError as error:
            fields.problem(error.what, "measurements", tee[:64], kind=type(error))
    found = Program(
        digest=fields.take("digest", _DIGEST, default=""),
        least_binding=binding,
        arguments=fields.take("arguments", _patterns, default=((),), optional=True),
        measurements=measurements,
    )
    fields.close()
    return found


def _patterns(value: object) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(value_set(value, _alternative)))


def _alternative(value: object) -> tuple[str, ...]:
    found = sequence(value)
    if len(found) > MAX_ARGUMENTS:
        raise ManifestField(f"gives more than {MAX_ARGUMENTS} patterns")
    return tuple(_pattern(it) for it in found)


def _pattern(value: object) -> str:
    return "" if value == "" else text(value)


# --- grants -----------------------------------------------------------------------------------------------------------
def _grant(fields: Fields) -> Grant:
    found = Grant(
        program=fields.take("program", _NAME, default=""),
        tee=fields.take("tee", _NAME, default=""),
        dataset=fields.take("dataset", _NAME, default=""),
        actions=fields.set("actions", one_of(Action, list(Action))),
    )
    fields.close()
    return found


def _role(fields: Fields) -> RoleGrant:
    found = RoleGrant(
        program=fields.take("program", _NAME, default=""),
        tee=fields.take("tee", _NAME, default=""),
        domain=fields.take("domain", _NAME, default=""),
        roles=fields.set("roles", _NAME),
    )
    fields.close()
    return found
