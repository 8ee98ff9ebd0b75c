"""Reading one TEE profile of a manifest, by the rules of its kind.

Decides that a profile pins what :mod:`redoubt.trust.tee_rules` says it must, that every claim in it is one of its kind,
and that it allows nothing that no manifest can allow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from redoubt.errors import ManifestEmpty, ManifestError, ManifestField, ManifestUnknownField
from redoubt.evidence.claims import Tee
from redoubt.limits import LARGEST_INTEGER
from redoubt.trust.fields import Fields, flag, integer, matching, one_of, text, value_set
from redoubt.trust.policy import Binding, TeeProfile, Value
from redoubt.trust.tee_rules import RULES, is_program_claim

BINDING = one_of(Binding, list(Binding))
HEX = matching(re.compile(r"(?:[0-9a-f]{2}){16,64}"), "16 to 64 bytes in lower-case hex")
_CLAIM: Final = re.compile(r"[a-z]+(?:\.[A-Za-z0-9_-]+)+")


def optional_text(read: Callable[[object], str]) -> Callable[[object], str | None]:
    """Return *read* as a reader of a field whose default is None."""
    return lambda value: read(value)


def read_tee(fields: Fields) -> TeeProfile | None:
    """Return the profile in *fields*; problems are noted there. None: without a kind nothing in it has a meaning."""
    kind = fields.take("kind", optional_text(one_of(str, [it.value for it in RULES])), default=None)
    if kind is None:
        return None  # without a kind nothing else in it has a meaning
    rules = RULES[Tee(kind)]
    binding = fields.take("binding", BINDING, default=Binding.ASSERTED)
    claim = fields.take("program_claim", optional_text(_claim_of(rules.prefixes)), default=None, optional=True)
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
    found = HEX(value)
    if not found.strip("0"):
        raise ManifestField("is the masked id, which every chip can show")
    return found
