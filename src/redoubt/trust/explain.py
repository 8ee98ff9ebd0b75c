"""Why a key was refused: each failed claim, what was expected and found, and the edit that would allow it.

Pure: a :class:`redoubt.trust.refusal.Refusal` in, words and TOML out. An edit is what the owner would *have* to write,
not advice to write it: every one loosens the manifest, and for some failures (debug enclaves, a revoked TCB, a program
that the TEE did not measure) there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from redoubt.errors import (
    ArgumentsRefused,
    BindingRefused,
    ChipRefused,
    DebugRefused,
    FailedClaim,
    GrantMissing,
    ProgramRefused,
    ReferenceMismatch,
    RoleNotGranted,
    TcbRefused,
    TeeUnknown,
    by_code,
)
from redoubt.evidence.claims import Tee
from redoubt.trust.fields import dotted
from redoubt.trust.policy import Value
from redoubt.trust.refusal import Refusal
from redoubt.trust.tee_rules import IMAGE_CLAIMS, RULES, TeeRules

_SHOWN: Final = 8
_NO_RULES: Final = TeeRules(prefixes=(), pinned=())


@dataclass(frozen=True, slots=True)
class Explanation:
    """One failed claim in words."""

    failure: FailedClaim
    #: One line: the claim, expected against actual.
    text: str
    cause: str
    #: What the person who runs the program can do, without any edit.
    next_step: str
    #: TOML to put in the place of, or beside, what the manifest says; None if nothing in a manifest would allow it.
    edit: str | None


def explain(refusal: Refusal) -> tuple[Explanation, ...]:
    """Return an explanation of each failed claim, in the order in which they were found."""
    return tuple(_explain(it, refusal) for it in refusal.failures)


def _explain(failure: FailedClaim, refusal: Refusal) -> Explanation:
    error = by_code()[failure.code]
    where = f" ({dotted(failure.path)})" if failure.path else ""
    actual = "nothing" if failure.actual is None else _toml(failure.actual)
    if failure.code == ArgumentsRefused.code and isinstance(failure.actual, int):
        actual = f"{failure.actual} argument{'' if failure.actual == 1 else 's'}"  # the record counts, and names none
    text = f"{failure.claim}: expected {_expected(failure)}, found {actual}{where}"
    edit = _EDITS.get(failure.code, _no_edit)(failure, refusal)
    return Explanation(failure, text, error.cause, error.next_step, edit)


def _expected(failure: FailedClaim) -> str:
    if failure.code == TcbRefused.code and failure.claim == "advisories":
        return "not a refused advisory"
    shown = [_toml(it) for it in failure.expected[:_SHOWN]]
    rest = len(failure.expected) - len(shown)
    words = " or ".join(shown) + (f" or one of {rest} more" if rest else "")
    if failure.code == TcbRefused.code and failure.path[-2:-1] == ("minimum",):
        return f"at least {words}"
    return words or ("no role" if failure.code == RoleNotGranted.code else "a grant")


# --- edits ------------------------------------------------------------------------------------------------------------
def _reference(failure: FailedClaim, refusal: Refusal) -> str | None:
    if failure.actual is None:
        return None
    return _table(failure.path[:-1], {failure.path[-1]: _list([*failure.expected, failure.actual])})


def _tcb(failure: FailedClaim, refusal: Refusal) -> str | None:
    kind, name = failure.path[2:3], failure.path[-1]
    if kind == ("minimum",):
        return None if failure.actual is None else _table(failure.path[:-1], {name: _toml(failure.actual)})
    if kind == ("refused_advisories",):
        rest = list(failure.expected)
        return _table(failure.path[:-1], {name: _list(rest)}) if rest else f"# remove {dotted(failure.path)}"
    if not isinstance(failure.actual, str) or failure.actual not in _rules(refusal).statuses:
        return None
    return _table(failure.path[:-1], {name: _list([*failure.expected, failure.actual])})


def _debug(failure: FailedClaim, refusal: Refusal) -> str | None:
    editable = failure.claim.endswith(".debug") and _rules(refusal).may_debug and failure.actual is True
    return _table(failure.path[:-1], {"debug": "true"}) if editable else None


def _chip(failure: FailedClaim, refusal: Refusal) -> str | None:
    if not isinstance(failure.actual, str) or not failure.actual.strip("0"):
        return None
    return _table(failure.path[:-1], {"chips": _list([*failure.expected, failure.actual])})


def _program(failure: FailedClaim, refusal: Refusal) -> str | None:
    if failure.actual is None:
        return None
    if failure.claim in IMAGE_CLAIMS:
        return _table(failure.path[:-1], {failure.path[-1]: _list([*failure.expected, failure.actual])})
    if failure.claim != "program.digest":
        return None  # the TEE measured another program than the one that the attester named
    path = failure.path[:-1] if len(failure.path) == 3 else ("programs", "NAME")
    return _table(path, {"digest": _toml(failure.actual)})


def _arguments(failure: FailedClaim, refusal: Refusal) -> str | None:
    count = failure.actual if isinstance(failure.actual, int) else 0
    added = "[" + ", ".join(f'"ARGUMENT {place}"' for place in range(1, count + 1)) + "]"
    table = _table(failure.path[:-1], {"arguments": "[" + ", ".join([*map(str, failure.expected), added]) + "]"})
    if count == 0:
        return table
    return f"# ARGUMENT 1 … stand for the program's own: a refusal records how many there were, never what\n{table}"


def _binding(failure: FailedClaim, refusal: Refusal) -> str | None:
    if failure.actual is None:
        return None
    value = _toml(failure.actual)
    if len(failure.path) == 1:
        return f"{failure.path[0]} = {value}"
    return f"# and `least_binding`, where that is stronger\n{_table(failure.path[:-1], {'binding': value})}"


def _grant(failure: FailedClaim, refusal: Refusal) -> str | None:
    program, tee, *rest = failure.path[1:]
    dataset, action = map(_toml, rest) if rest else ('"DATASET"', '"read"')
    return _entry("grants", {"program": program, "tee": tee}, {"dataset": dataset, "actions": f"[{action}]"})


def _role(failure: FailedClaim, refusal: Refusal) -> str | None:
    program, tee, domain, role = failure.path[1:]
    return _entry(
        "roles", {"program": program, "tee": tee, "domain": domain}, {"roles": _list([*failure.expected, role])}
    )


def _tee(failure: FailedClaim, refusal: Refusal) -> str | None:
    if refusal.tee not in {it.value for it in RULES}:
        return None
    return f"[tees.NAME]\nkind = {_toml(refusal.tee)}\n# binding, reference values and TCB policy: docs/manifest.md"


def _rules(refusal: Refusal) -> TeeRules:
    return RULES.get(Tee(refusal.tee), _NO_RULES) if refusal.tee in set(Tee) else _NO_RULES


def _no_edit(failure: FailedClaim, refusal: Refusal) -> str | None:
    return None


_EDITS: Final[Mapping[str, Callable[[FailedClaim, Refusal], str | None]]] = MappingProxyType(
    {
        TeeUnknown.code: _tee,
        ReferenceMismatch.code: _reference,
        TcbRefused.code: _tcb,
        DebugRefused.code: _debug,
        ChipRefused.code: _chip,
        ProgramRefused.code: _program,
        ArgumentsRefused.code: _arguments,
        BindingRefused.code: _binding,
        GrantMissing.code: _grant,
        RoleNotGranted.code: _role,
    }
)


def _table(path: Iterable[str], fields: Mapping[str, str]) -> str:
    lines = [f"{dotted((name,))} = {value}" for name, value in fields.items()]
    return "\n".join([f"[{dotted(tuple(path))}]", *lines])


def _entry(room: str, names: Mapping[str, str], fields: Mapping[str, str]) -> str:
    written = {**{name: _toml(value) for name, value in names.items()}, **fields}
    return "\n".join([f"[[{room}]]", *(f"{name} = {value}" for name, value in written.items())])


def _list(values: Iterable[Value]) -> str:
    return "[" + ", ".join(map(_toml, values)) + "]"


def _toml(value: Value) -> str:
    import tomlkit  # only owners' tools come here

    return str(tomlkit.item(value).as_string())
