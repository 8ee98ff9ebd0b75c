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
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import rfc8785

from redoubt.errors import (
    KeyError_,
    ManifestEmpty,
    ManifestError,
    ManifestField,
    ManifestMalformed,
    ManifestUnknownField,
)
from redoubt.evidence.claims import JSON, Tee
from redoubt.evidence.claims import digest as sha256_text
from redoubt.evidence.strict_json import from_base64url, parse_object
from redoubt.keys.names import LABEL, KeyName
from redoubt.limits import (
    LARGEST_INTEGER,
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
    flag,
    integer,
    matching,
    one_of,
    sequence,
    text,
    value_set,
)
from redoubt.trust.policy import Action, Binding, Dataset, Grant, Manifest, Program, TeeProfile, Value
from redoubt.trust.references import check_references
from redoubt.trust.tee_rules import RULES, is_program_claim

MANIFEST_FORMAT: Final = 1
_DIGEST = matching(re.compile(r"sha256:[0-9a-f]{64}"), "a digest: sha256: and 64 of 0-9, a-f")
_NAME = matching(LABEL, "a name: 1 to 63 of a-z, 0-9, '-' and '_'")
_HEX = matching(re.compile(r"(?:[0-9a-f]{2}){16,64}"), "16 to 64 bytes in lower-case hex")
_CLAIM: Final = re.compile(r"[a-z]+(?:\.[A-Za-z0-9_-]+)+")
#: Ed25519 points whose order divides 8, in all encodings, without the sign bit. RFC 8032 leaves them to the verifier.
SMALL_ORDER: Final = frozenset(
    map(
        bytes.fromhex,
        (
            "00" * 32,
            "01" + "00" * 31,
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "ec" + "ff" * 30 + "7f",
            "ed" + "ff" * 30 + "7f",
            "ee" + "ff" * 30 + "7f",
        ),
    )
)
_BINDING = one_of(Binding, list(Binding))


def parse_manifest(toml: bytes) -> Manifest:
    """Return the manifest that an owner wrote.

    Raises:
        ManifestError: it is not TOML, or something is wrong with a field: the text names the path of each.
    """
    return _checked(_load(toml))


def draft_problems(toml: bytes) -> tuple[Problem, ...]:
    """Return everything that is wrong with a manifest that may be unfinished, its references included.

    Raises:
        ManifestMalformed: it is not TOML.
    """
    problems = Problems()
    check_references(_read(_load(toml), problems), problems)
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
def _load(toml: bytes) -> dict[str, Any]:
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
    return replace(manifest, grants=tuple(sorted(manifest.grants, key=_order)))


def _read(tree: object, problems: Problems) -> Manifest:
    """Return what *tree* says as far as it says it; only without a problem is it a manifest."""
    top = Fields(tree, (), problems)
    top.take("format", integer(MANIFEST_FORMAT, MANIFEST_FORMAT), default=MANIFEST_FORMAT)
    version = top.take("version", integer(1, MAX_MANIFEST_VERSION), default=1)
    previous = top.take("previous", _optional(_DIGEST), default=None, optional=True)
    if (previous is None) != (version == 1):
        top.problem("is the digest of the manifest before, and only version 1 has none", "previous")
    least = top.take("least_binding", _BINDING, default=Binding.AGENT, optional=True)
    manifest = Manifest(
        version=version,
        previous=previous,
        least_binding=least,
        owners=_keys(top, "owners"),
        recipients=_keys(top, "recipients", optional=True),
        datasets={name: _dataset(fields) for name, fields in top.tables("datasets")},
        programs={name: _program(fields, least) for name, fields in top.tables("programs")},
        tees={name: found for name, fields in top.tables("tees") if (found := _tee(fields)) is not None},
        grants=tuple(_grant(fields) for fields in top.list("grants")),
    )
    top.close()
    return manifest


def _order(grant: Grant) -> tuple[str, str, str]:
    return grant.program, grant.tee, grant.dataset


def _optional(read: Callable[[object], str]) -> Callable[[object], str | None]:
    return lambda value: read(value)


def _keys(top: Fields, name: str, *, optional: bool = False) -> dict[str, bytes]:
    found = {}
    for owner, fields in top.tables(name, optional=optional):
        found[owner] = fields.take("key", parse_public_key, default=b"")
        fields.close()
    return found


def parse_public_key(value: object) -> bytes:
    """Return the 32 bytes of an Ed25519 public key in text: ``ed25519:`` and base64url; raises ManifestField."""
    given = text(value)
    if not given.startswith("ed25519:") or "=" in given:
        raise ManifestField("is no public key: ed25519: and 43 signs of base64url")
    raw = from_base64url(given.removeprefix("ed25519:"), what="it", refusal=ManifestField)
    if len(raw) != 32:
        raise ManifestField("is no Ed25519 public key: it is not 32 bytes long")
    if raw[:31] + bytes([raw[31] & 0x7F]) in SMALL_ORDER:
        raise ManifestField("is a point of small order, for which anybody can sign")
    return raw


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
    binding = fields.take("binding", _BINDING, default=least, optional=True)
    if not binding.covers(least):
        fields.problem(f"is weaker than least_binding, which is {least}", "binding")
    measurements = {}
    for tee, values in fields.values("measurements", optional=True).items():
        try:
            measurements[_NAME(tee)] = value_set(values, _HEX)
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


# --- TEEs -------------------------------------------------------------------------------------------------------------
def _tee(fields: Fields) -> TeeProfile | None:
    kind = fields.take("kind", _optional(one_of(str, [it.value for it in RULES])), default=None)
    if kind is None:
        return None  # without a kind nothing else in it has a meaning
    rules = RULES[Tee(kind)]
    binding = fields.take("binding", _BINDING, default=Binding.ASSERTED)
    claim = fields.take("program_claim", _optional(_claim_of(rules.prefixes)), default=None, optional=True)
    needs_claim = binding in (Binding.MEASUREMENT, Binding.EXTENDED)
    if needs_claim and (claim is None or not is_program_claim(Tee(kind), claim, binding=binding)):
        fields.problem(f"names no claim in which {kind} shows the program at the level {binding}", "program_claim")
    elif claim is not None and not needs_claim:
        fields.problem(f"has no meaning at the level {binding}", "program_claim")
    reference = _reference(fields, rules.prefixes)
    found = TeeProfile(
        kind=Tee(kind),
        binding=binding,
        program_claim=claim,
        reference=reference,
        minimum=_minimum(fields, rules.prefixes),
        statuses=_choice(fields, "statuses", rules.statuses),
        refused_advisories=fields.set("refused_advisories", text, optional=True),
        chips=fields.set("chips", _chip, optional=True),
        debug=fields.take("debug", flag, default=False, optional=True),
    )
    _check_profile(fields, found)
    fields.close()
    return found


def _check_profile(fields: Fields, profile: TeeProfile) -> None:
    rules = RULES[profile.kind]
    said = {*profile.reference, *profile.minimum, *({profile.program_claim} - {None})}
    if not any(all(_is_pinned(name, said) for name in group) for group in rules.pinned):
        groups = " or ".join(" and ".join(sorted(group)) for group in rules.pinned)
        fields.problem(f"must pin {groups}", "reference", kind=ManifestEmpty)
    if missing := sorted(rules.minimum - set(profile.minimum)):
        fields.problem(f"must give {', '.join(missing)}", "minimum", kind=ManifestEmpty)
    if profile.debug and not rules.may_debug:
        fields.problem(f"cannot be allowed for {profile.kind}", "debug")
    if profile.chips and not rules.chips:
        fields.problem(f"{profile.kind} names no chip", "chips")
    if profile.refused_advisories and not rules.statuses:
        fields.problem(f"{profile.kind} names no advisories", "refused_advisories")
    for name in rules.unsafe:
        if name in profile.reference:
            fields.problem("is judged by `debug`, not by reference values", "reference", name)


def _is_pinned(name: object, said: set[str | None]) -> bool:
    return any(it == name or (str(name).endswith(".") and str(it).startswith(str(name))) for it in said)


def _choice(fields: Fields, name: str, known: frozenset[str]) -> frozenset[str]:
    # A kind without such words must not have the field: close() then calls it unknown.
    return fields.set(name, one_of(str, sorted(known))) if known else frozenset()


def _claim_of(prefixes: tuple[str, ...]) -> Callable[[object], str]:
    def read(value: object) -> str:
        found = text(value)
        if not _CLAIM.fullmatch(found) or not found.startswith(prefixes):
            raise ManifestUnknownField(f"is no claim of this kind; they begin with {', '.join(prefixes)}")
        return found

    return read


def _reference(fields: Fields, prefixes: tuple[str, ...]) -> Mapping[str, frozenset[Value]]:
    found: dict[str, frozenset[Value]] = {}
    # A profile whose program claim is its one measurement needs no other reference.
    for name, values in fields.values("reference", optional=True).items():
        try:
            found[_claim_of(prefixes)(name)] = value_set(values, _value)
        except ManifestError as error:
            fields.problem(error.what, "reference", name[:64], kind=type(error))
    return found


def _value(value: object) -> Value:
    if isinstance(value, bool):
        return value
    return integer(-LARGEST_INTEGER, LARGEST_INTEGER)(value) if isinstance(value, int) else text(value)


def _minimum(fields: Fields, prefixes: tuple[str, ...]) -> Mapping[str, int]:
    found: dict[str, int] = {}
    for name, value in fields.values("minimum", optional=True).items():
        try:
            found[_claim_of(prefixes)(name)] = integer(0, LARGEST_INTEGER)(value)
        except ManifestError as error:
            fields.problem(error.what, "minimum", name[:64], kind=type(error))
    return found


def _chip(value: object) -> str:
    found = _HEX(value)
    if not found.strip("0"):
        raise ManifestField("is the masked id, which every chip can show")
    return found


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
