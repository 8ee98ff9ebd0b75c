"""Reading manifests: one meaning whatever the spelling, and every way to write one that must not count."""

from __future__ import annotations

import base64
import contextlib
import json
import random
from typing import Any

import pytest
import tomlkit
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.samples import ALICE, DIGEST, MALLORY, MEASUREMENT, MRENCLAVE, TOML, manifest, public

from redoubt.errors import (
    ManifestAssurance,
    ManifestDangling,
    ManifestDuplicate,
    ManifestEmpty,
    ManifestError,
    ManifestField,
    ManifestMalformed,
    ManifestUnknownField,
    ProgramInvalid,
)
from redoubt.limits import MAX_MANIFEST_BYTES
from redoubt.trust.encode import to_tree
from redoubt.trust.manifest import canonical, manifest_digest, parse_canonical, parse_manifest
from redoubt.trust.patterns import all_match, matches
from redoubt.trust.plan import Direction, plan
from redoubt.trust.policy import Binding
from redoubt.trust.program import ProgramDescriptor
from redoubt.trust.public_key import SMALL_ORDER, public_key_text

CANONICAL = canonical(manifest())


def refuse(kind: type[ManifestError], old: str, new: str, *words: str) -> str:
    """Reading the sample with *old* replaced by *new* is refused so; return the text."""
    assert old in TOML, old
    with pytest.raises(ManifestError) as caught:
        manifest(TOML.replace(old, new, 1))
    assert type(caught.value) is kind, caught.value
    for word in words:
        assert word in caught.value.what
    return caught.value.what


# --- what is read -----------------------------------------------------------------------------------------------------
def test_the_sample_reads_as_it_is_written() -> None:
    read = manifest()
    assert read.programs["monthly"].arguments == ((), ("--month", "2026-??"))
    assert read.programs["monthly"].least_binding is Binding.MEASUREMENT
    assert read.datasets["sales"].approvals == 1
    assert read.tees["amd"].reference["snp.measurement"] == {MEASUREMENT, "44" * 48}
    assert [it.dataset for it in read.grants] == ["report", "sales", "sales", "report"]
    assert manifest_digest(read) == "sha256:9d5f85e5768ef07b25386c174932dc38aff2b0fa9bea6a3f4793e3a43a19970f"


def test_canonical_form_reads_back() -> None:
    assert parse_canonical(CANONICAL) == manifest()


@pytest.mark.parametrize("change", [b" ", b"\n"])
def test_canonical_form_has_one_spelling(change: bytes) -> None:
    with pytest.raises(ManifestMalformed):
        parse_canonical(CANONICAL.replace(b",", b"," + change, 1))


def test_canonical_form_of_something_else_is_refused() -> None:
    for text in (b"{}", b"[]", b"null", b'{"redoubt_program":{}}', CANONICAL[:-1]):
        with pytest.raises(ManifestMalformed):
            parse_canonical(text)
    with pytest.raises(ManifestMalformed):  # a set out of order is another spelling of the same manifest
        parse_canonical(CANONICAL.replace(b'["read","write"]', b'["write","read"]'))


def _shuffled(value: Any, chance: random.Random, path: tuple[str, ...] = ()) -> Any:
    if isinstance(value, dict):
        names = list(value)
        chance.shuffle(names)
        return {name: _shuffled(value[name], chance, (*path, name)) for name in names}
    if isinstance(value, list) and path[-1] != "pattern":
        inner = (*path, "pattern") if path[-1] == "arguments" else path
        items = [_shuffled(it, chance, inner) for it in value]
        chance.shuffle(items)
        return items
    return value


@given(st.randoms(use_true_random=False))
def test_canonical_form_is_stable_under_reordering_and_spelling(chance: random.Random) -> None:
    tree = _shuffled({"format": 1, **to_tree(manifest())}, chance)
    assert canonical(parse_manifest(tomlkit.dumps(tree).encode())) == CANONICAL
    inline = "\n".join(f"{name} = {_inline(value)}  # comment" for name, value in tree.items())
    assert canonical(parse_manifest(inline.encode())) == CANONICAL


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{name}" = {_inline(it)}' for name, it in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'


# --- what is refused --------------------------------------------------------------------------------------------------
def test_unknown_field() -> None:
    refuse(ManifestUnknownField, "least_binding", "least_bindings", "least_bindings: unknown field")
    refuse(ManifestUnknownField, 'chips = ["', 'chip_ids = ["', "tees.amd.chip_ids")
    refuse(ManifestUnknownField, 'actions = ["read"]', 'actions = ["read"]\nuntil = "2027"', "grants[0].until")
    refuse(ManifestUnknownField, '"snp.vmpl"', '"sgx.vmpl"', 'tees.amd.reference."sgx.vmpl"')
    refuse(ManifestUnknownField, 'program_claim = "snp.host_data"', 'program_claim = "snp.host_data"\nstatuses = ["x"]')


BROKERS = f'[brokers.main]\nid = "{"0f" * 32}"\n\n[owners.bob]'


def test_brokers_are_optional_and_in_the_digest_only_if_they_are_named() -> None:
    read = manifest(TOML.replace("[owners.bob]", BROKERS, 1))
    assert manifest().brokers == {}
    assert read.brokers == {"main": "0f" * 32}
    assert parse_canonical(canonical(read)) == read
    assert manifest_digest(read) != manifest_digest(manifest())
    assert b"brokers" not in canonical(manifest())


def test_brokers_that_are_none_or_two_of_one_key() -> None:
    refuse(ManifestField, "[owners.bob]", BROKERS.replace("0f" * 32, "0F" * 32), "brokers.main.id")
    refuse(ManifestField, "[owners.bob]", BROKERS.replace("0f" * 32, "0f" * 31), "brokers.main.id")
    twice = BROKERS.replace("[owners.bob]", f'[brokers.other]\nid = "{"0f" * 32}"\n\n[owners.bob]')
    refuse(ManifestDuplicate, "[owners.bob]", twice, "brokers.other.id")
    refuse(ManifestEmpty, "[owners.bob]", "[brokers]\n\n[owners.bob]", "brokers: is empty")


def test_empty_reference_set() -> None:
    refuse(ManifestEmpty, '"snp.vmpl" = [0]', '"snp.vmpl" = []', 'tees.amd.reference."snp.vmpl": is empty')
    refuse(ManifestEmpty, '"simulated.warning" = ["SIMULATED: proves nothing about hardware"]', "", "reference")


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ('owners = ["alice"]', "owners = []", "datasets.sales.owners"),
        ('keys = ["key:main/sales.hw"]', "keys = []", "datasets.sales.keys"),
        ('recipients = ["carol"]', "recipients = []", "datasets.report.recipients"),
        ('actions = ["read"]', "actions = []", "grants[0].actions"),
        ('arguments = [["--month", "2026-??"], []]', "arguments = []", "programs.monthly.arguments"),
        ('statuses = ["UpToDate", "SWHardeningNeeded"]', "statuses = []", "tees.enclave.statuses"),
        ('refused_advisories = ["INTEL-SA-00615"]', "refused_advisories = []", "tees.enclave.refused_advisories"),
        ('"snp.tcb.snp" = 20\n', "", "tees.amd.minimum: must give snp.tcb.snp"),
        ('"snp.vmpl" = [0]', "", "tees.amd.reference: must pin snp.measurement and snp.vmpl"),
    ],
)
def test_empty_set(old: str, new: str, path: str) -> None:
    refuse(ManifestEmpty, old, new, path)


@pytest.mark.parametrize("name", ["owners", "datasets", "programs", "tees", "grants"])
def test_missing_and_empty_tables(name: str) -> None:
    tree: dict[str, Any] = {"format": 1, **to_tree(manifest())}
    for content, kind in ((None, ManifestField), ([] if name == "grants" else {}, ManifestEmpty)):
        changed = {key: value for key, value in tree.items() if key != name}
        if content is not None:
            changed[name] = content
        with pytest.raises(kind) as caught:
            parse_manifest(tomlkit.dumps(changed).encode())
        assert caught.value.what.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (public(MALLORY), "ed25519:AAAA", "recipients.carol.key"),
        (public(MALLORY), public(MALLORY)[8:], "recipients.carol.key"),
        (public(MALLORY), public(MALLORY) + "=", "recipients.carol.key"),
        (DIGEST, DIGEST.upper(), "programs.monthly.digest"),
        (DIGEST, DIGEST[:-1], "programs.monthly.digest"),
        ("version = 1", "version = 0", "version"),
        ("version = 1", "version = true", "version"),
        ("version = 1", "version = 1.0", "version"),
        ("version = 1", "version = 2", "previous"),
        ("format = 1", "format = 2", "format"),
        ("format = 1", "", "format"),
        ("approvals = 1", "approvals = 3", "datasets.report.approvals"),
        ("approvals = 1", "approvals = 0", "datasets.report.approvals"),
        ('"key:main/sales.hw"', '"main/sales"', "datasets.sales.keys"),
        ("0b8e9c1e-54a4-4c0a-9a66-0e1b7f0f6f01", "0B8E9C1E-54A4-4C0A-9A66-0E1B7F0F6F01", "datasets.sales.id"),
        ('binding = "measurement"\narg', 'binding = "asserted"\narg', "programs.monthly.binding"),
        ('binding = "measurement"\nprogram_claim', 'binding = "agent"\nprogram_claim', "tees.amd.program_claim"),
        ('program_claim = "snp.host_data"', 'program_claim = "snp.family_id"', "tees.amd.program_claim"),
        ('program_claim = "snp.host_data"', "", "tees.amd.program_claim"),
        ('kind = "snp"', 'kind = "sev"', "tees.amd.kind"),
        ('kind = "snp"', 'kind = "maa"', "tees.amd.kind"),
        ('"UpToDate"', '"Revoked"', "tees.enclave.statuses"),
        ('"UpToDate"', '"unproved"', "tees.enclave.statuses"),
        ('kind = "sgx"', 'kind = "sgx"\ndebug = true', "tees.enclave.debug"),
        ('"snp.vmpl" = [0]', '"snp.vmpl" = [0]\n"snp.debug" = [true]', 'tees.amd.reference."snp.debug"'),
        ('"snp.vmpl" = [0]', '"snp.vmpl" = [0.0]', 'tees.amd.reference."snp.vmpl"'),
        ('"snp.vmpl" = [0]', '"snp.vmpl" = [9007199254740992]', 'tees.amd.reference."snp.vmpl"'),
        ('"snp.vmpl" = [0]', '"snp.vmpl" = 0', 'tees.amd.reference."snp.vmpl"'),
        ('"snp.tcb.snp" = 20', '"snp.tcb.snp" = -1', 'tees.amd.minimum."snp.tcb.snp"'),
        ("33" * 64, "00" * 64, "tees.amd.chips"),
        ("[owners.alice]", "[owners.Alice]", "owners.Alice"),
        ('program = "monthly"', 'program = ""', "grants[0].program"),
    ],
)
def test_fields_of_the_wrong_form(old: str, new: str, path: str) -> None:
    refuse(ManifestField, old, new, f"{path}: ")


def test_duplicates() -> None:
    refuse(ManifestDuplicate, 'owners = ["alice", "bob"]', 'owners = ["alice", "alice"]', "datasets.report.owners")
    refuse(ManifestDuplicate, '"snp.vmpl" = [0]', '"snp.vmpl" = [0, 0]')
    refuse(ManifestDuplicate, '"snp.vmpl" = [0]', '"snp.vmpl" = [0, false]')
    refuse(ManifestDuplicate, "0e1b7f0f6f02", "0e1b7f0f6f01", "datasets.report.id: is the same as datasets.sales.id")
    refuse(ManifestDuplicate, 'tee = "enclave"', 'tee = "amd"', "grants[2]: is the same as grants.[0]")


def test_one_key_for_two_owners_would_count_twice() -> None:
    text = refuse(ManifestDuplicate, '[owners.bob]\nkey = "', f'[owners.bob]\nkey = "{public(ALICE)}"\n#')
    assert "owners.bob.key: is the same as owners.alice.key" in text


def test_one_measurement_for_two_programs_would_let_one_pass_for_the_other() -> None:
    second = (
        f'[programs.other]\ndigest = "sha256:{"00" * 32}"\nmeasurements = {{ enclave = ["{MRENCLAVE}"] }}\n[tees.amd]'
    )
    refuse(ManifestDuplicate, "[tees.amd]", second, "programs.other.measurements.enclave")


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('program = "monthly"', 'program = "weekly"', "grants[0].program: 'weekly' is not defined"),
        ('tee = "amd"', 'tee = "intel"', "grants[0].tee: 'intel' is not defined"),
        ('dataset = "sales"', 'dataset = "x"', "grants[0].dataset: 'x' is not defined"),
        ('owners = ["alice"]', 'owners = ["mallory"]', "datasets.sales.owners: 'mallory' is not defined"),
        ('recipients = ["carol"]', 'recipients = ["dave"]', "'dave' is not defined"),
        ("{ enclave = [", "{ amd = [", "programs.monthly.measurements: 'amd' is not defined"),
        (f'measurements = {{ enclave = ["{MRENCLAVE}"] }}', "", "programs.monthly.measurements: has no measurements"),
        ('owners = ["alice", "bob"]', 'owners = ["alice"]', "owners.bob: owns no dataset"),
    ],
)
def test_dangling_references(old: str, new: str, text: str) -> None:
    refuse(ManifestDangling, old, new, text)


def test_simulated_evidence_at_a_hardware_key() -> None:
    refuse(ManifestAssurance, "key:main/report.dev", "key:main/report.hw", "grants[3].tee")


def test_every_problem_is_named_at_once() -> None:
    text = TOML.replace("least_binding", "least").replace('["alice"]', "[]").replace('"SWHardeningNeeded"', '"Fine"')
    with pytest.raises(ManifestError) as caught:
        manifest(text)
    for path in ("least: unknown", "datasets.sales.owners: is empty", "tees.enclave.statuses: is not one of"):
        assert path in caught.value.what


def test_a_key_for_which_anybody_can_sign_is_no_owners_key() -> None:
    forged = b"\x01" + bytes(63)  # R is the neutral point and S is 0: nobody's secret went into it
    canonical_points = [raw for raw in SMALL_ORDER if raw[0] not in (0xED, 0xEE)]
    for raw in SMALL_ORDER:
        for key in (raw, raw[:31] + bytes([raw[31] | 0x80])):
            refuse(ManifestField, public(MALLORY), public_key_text(key), "small order")
    for raw in canonical_points:
        assert any(_verifies(raw, forged, b"%d" % message) for message in range(500))


def _verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


# --- any bytes --------------------------------------------------------------------------------------------------------
_LINES = TOML.splitlines(keepends=True)


@given(st.binary(max_size=400))
def test_parsers_raise_only_documented_errors_on_any_bytes(data: bytes) -> None:
    for parse in (parse_manifest, parse_canonical):
        with pytest.raises(ManifestError):
            parse(data)


@given(st.data())
def test_parsers_raise_only_documented_errors_on_damaged_manifests(data: st.DataObject) -> None:
    base = data.draw(st.sampled_from([TOML.encode(), CANONICAL]))
    raw = bytearray(base)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    for parse in (parse_manifest, parse_canonical):
        try:
            read = parse(bytes(raw))
        except ManifestError:
            continue
        assert parse_canonical(canonical(read)) == read


@given(st.lists(st.sampled_from(_LINES), max_size=60), st.integers(0, 60))
def test_parsers_raise_only_documented_errors_on_mixed_up_lines(lines: list[str], cut: int) -> None:
    with contextlib.suppress(ManifestError):
        parse_manifest("".join([*_LINES[:cut], *lines]).encode())


_TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_a_value_of_another_type_anywhere_is_a_documented_error(data: st.DataObject) -> None:
    tree: Any = json.loads(CANONICAL)["redoubt_manifest"]
    holder: Any = tree
    while True:
        names = sorted(holder) if isinstance(holder, dict) else range(len(holder))
        name = data.draw(st.sampled_from(list(names)))
        inner = holder[name]
        if not isinstance(inner, dict | list) or not inner or data.draw(st.booleans()):
            break
        holder = inner
    holder[name] = data.draw(_TREES)
    with contextlib.suppress(ManifestError):
        parse_canonical(json.dumps({"redoubt_manifest": tree}).encode("utf-8", errors="surrogatepass"))


def test_oversize_and_deep_manifests() -> None:
    dotted = b"a." * (MAX_MANIFEST_BYTES // 2 - 4) + b"a=1"  # would take gigabytes in Python's own parser
    for text in (dotted, b"#" * (MAX_MANIFEST_BYTES + 1), b"a = " + b"[" * 100_000, b"a = " + b"{a=" * 50_000):
        with pytest.raises(ManifestMalformed):
            parse_manifest(text)


# --- argument patterns ------------------------------------------------------------------------------------------------
def test_patterns_match_from_end_to_end() -> None:
    assert matches("2026-??", "2026-11")
    assert matches("*.csv", ".csv")
    assert matches("a*b*c", "aXbXbc")
    assert matches("", "")
    for pattern, argument in (("2026-??", "2026-111"), ("a", "ab"), ("a", "a\n"), ("", "x"), ("?", ""), ("[ab]", "a")):
        assert not matches(pattern, argument)
    assert all_match(["--in", "*"], ["--in", "--out"])
    assert not all_match(["--in", "*"], ["--in"])
    assert not all_match([], ["x"])


def test_patterns_are_never_exponential() -> None:
    assert not matches("a*" * 500 + "b", "a" * 4096)


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab", max_size=8))
def test_patterns_mean_what_the_regular_expression_means(pattern: str, argument: str) -> None:
    import re

    wanted = "".join({"*": ".*", "?": "."}.get(it, re.escape(it)) for it in pattern)
    assert matches(pattern, argument) == (re.fullmatch(wanted, argument, re.DOTALL) is not None)


# --- the program descriptor -------------------------------------------------------------------------------------------
DESCRIPTOR = ProgramDescriptor(
    files={"job.py": "aa" * 32, "lib/dep.zip": "bb" * 32},
    interpreter="/usr/bin/python3",
    image="sha256:" + "cc" * 32,
    jvm_options=("-Xmx2g",),
    argv=("python3", "job.py"),
    environment={"LANG": "C.UTF-8"},
    conf={"spark.authenticate": "true"},
)


def test_descriptor_reads_back_and_every_change_changes_its_digest() -> None:
    from dataclasses import replace

    assert ProgramDescriptor.parse(DESCRIPTOR.canonical()) == DESCRIPTOR
    changes: list[dict[str, Any]] = [
        {"files": {**DESCRIPTOR.files, "job.py": "ab" * 32}},
        {"files": {**DESCRIPTOR.files, "sitecustomize.py": "aa" * 32}},
        {"interpreter": "/usr/bin/python"},
        {"image": "sha256:" + "cd" * 32},
        {"jvm_options": ("-Xmx2g", "-javaagent:x.jar")},
        {"argv": ("python3", "job.py", "--debug")},
        {"environment": {"LANG": "C.UTF-8", "LD_PRELOAD": "x.so"}},
        {"conf": {"spark.authenticate": "false"}},
        {"conf": {"spark.authenticate": "true", "spark.plugins": "x"}},
    ]
    digests = {replace(DESCRIPTOR, **change).digest for change in changes}
    assert len({DESCRIPTOR.digest, *digests}) == len(changes) + 1


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"": "aa" * 32}},
        {"files": {"../job.py": "aa" * 32}},
        {"files": {"/job.py": "aa" * 32}},
        {"files": {"a//b": "aa" * 32}},
        {"files": {"job.py": "AA" * 32}},
        {"image": "cc" * 32},
        {"interpreter": "python3"},
        {"argv": ()},
        {"argv": ("a\0b",)},
        {"environment": {"A=B": "c"}},
        {"environment": {"": "c"}},
        {"conf": {"a": "\ud800"}},
    ],
)
def test_descriptor_with_two_readings(change: dict[str, Any]) -> None:
    from dataclasses import replace

    with pytest.raises(ProgramInvalid):
        replace(DESCRIPTOR, **change)


@given(st.data())
def test_descriptor_parser_raises_only_documented_errors(data: st.DataObject) -> None:
    raw = bytearray(DESCRIPTOR.canonical())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place : place + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    try:
        read = ProgramDescriptor.parse(bytes(raw))
    except ProgramInvalid:
        return
    assert ProgramDescriptor.parse(read.canonical()) == read


def test_manifest_and_descriptor_never_share_a_digest() -> None:
    assert CANONICAL.startswith(b'{"redoubt_manifest":')
    assert DESCRIPTOR.canonical().startswith(b'{"redoubt_program":')
    assert base64.b64encode(CANONICAL) != base64.b64encode(DESCRIPTOR.canonical())


# --- roles of a trust domain ------------------------------------------------------------------------------------------
ROLES = '[[roles]]\nprogram = "monthly"\ntee = "amd"\ndomain = "analytics"\nroles = ["worker", "driver"]\n'


def test_roles_have_one_canonical_form_and_are_shown_by_plan() -> None:
    plain, found = parse_manifest(TOML.encode()), parse_manifest((TOML + ROLES).encode())
    again = parse_manifest((TOML + ROLES.replace('"worker", "driver"', '"driver", "worker"')).encode())
    assert manifest_digest(found) == manifest_digest(again) != manifest_digest(plain)
    assert parse_canonical(canonical(found)) == found
    assert b"roles" not in canonical(plain)
    added, first = plan(plain, found), plan(None, found)
    assert [str(it) for it in added.changes] == [str(it) for it in first.changes]
    assert str(added.changes[0]).startswith("looser: roles.analytics: + driver: monthly sha256:")
    assert [it.direction for it in plan(found, plain).changes] == [Direction.TIGHTER]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ('roles = ["worker", "driver"]', "roles = []", ManifestEmpty),
        ('roles = ["worker", "driver"]', 'roles = ["worker", "worker"]', ManifestDuplicate),
        ('roles = ["worker", "driver"]', 'roles = ["Worker"]', ManifestField),
        ('program = "monthly"\ntee = "amd"\ndomain', 'program = "weekly"\ntee = "amd"\ndomain', ManifestDangling),
        ('tee = "amd"\ndomain', 'tee = "intel"\ndomain', ManifestDangling),
        ('domain = "analytics"', 'domain = "analytics"\nuntil = "2027"', ManifestUnknownField),
        ("[[roles]]", ROLES + "[[roles]]", ManifestDuplicate),
    ],
)
def test_roles_of_the_wrong_form(old: str, new: str, kind: type[ManifestError]) -> None:
    assert old in TOML + ROLES
    with pytest.raises(kind):
        parse_manifest((TOML + ROLES.replace(old, new)).encode())


def test_trust_domain_of_simulated_and_other_evidence_is_refused() -> None:
    mixed = ROLES.replace('"amd"', '"laptop"').replace('"driver"', '"master"')
    toml = TOML + ROLES + mixed
    with pytest.raises(ManifestAssurance, match="trust domain 'analytics'"):
        parse_manifest(toml.encode())
