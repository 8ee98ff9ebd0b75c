"""Adding tables to manifests that people wrote: nothing else changes, however it is spelled, and many cost as few."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.trust.samples import DIGEST, TOML

from redoubt.errors import AlreadyExists, ManifestError, ManifestField, ManifestMalformed
from redoubt.trust.edit import add_entry, add_table, add_tables
from redoubt.trust.manifest import read_toml

PROGRAM = {"digest": "sha256:" + "a" * 64}


def test_table_stands_behind_those_of_its_room_and_comments_stay_where_they_are() -> None:
    text = add_table("# top\n[programs.a]\ndigest = 1 # of a\n\n# of b\n[tees.b]\nkind = 1", ("programs", "c"), PROGRAM)
    before, after = text.split("# of b")
    assert before.index("# of a") < before.index("[programs.c]")
    assert after == "\n[tees.b]\nkind = 1\n"


@pytest.mark.parametrize("spelling", ["[ programs . {} ]  # x\n", "[programs.'{}']\n", "[programs]\n[programs.{}]\n"])
def test_rooms_whose_tables_stand_apart_take_one_more(spelling: str) -> None:
    """These ended in an AttributeError, or took a second for each of a thousand tables."""
    text = (
        spelling.format("a")
        + "digest = 1\n[recipients.r]\nkey = 1\n[programs.b]\ndigest = 2\n[recipients.s]\nkey = 1\n"
    )
    found = tomllib.loads(add_table(text, ("programs", "c"), PROGRAM))
    assert found["programs"] == {"a": {"digest": 1}, "b": {"digest": 2}, "c": PROGRAM}


def test_many_tables_are_added_with_one_look_at_the_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []

    def read(toml: bytes) -> dict[str, Any]:
        looks.append(len(toml))
        return read_toml(toml)

    monkeypatch.setattr("redoubt.trust.edit.read_toml", read)
    tables: Any = {("programs", f"p{it}"): {"digest": f"sha256:{it:064x}"} for it in range(500)}
    found = tomllib.loads(add_tables(TOML, tables))
    assert {("programs", it) for it in found["programs"]} > set(tables)
    assert len(looks) == 2


@pytest.mark.parametrize(
    "text", ["programs = 5\n", "programs = []\n", "[[programs]]\na = 1\n", "programs = {p = {digest = 'x'}}\n"]
)
def test_rooms_that_are_no_open_tables_are_refused_in_words(text: str) -> None:
    with pytest.raises((ManifestField, ManifestMalformed)):
        add_table(text, ("programs", "c"), PROGRAM)


@pytest.mark.parametrize("text", ["grants = 5\n", "grants = []\n", "grants = {a = 1}\n", "[grants]\na = 1\n"])
def test_grants_that_are_no_open_list_are_refused_in_words(text: str) -> None:
    with pytest.raises((ManifestField, ManifestMalformed)):
        add_entry(text, "grants", {"program": "p", "tee": "t", "dataset": "d", "actions": ["read"]})


def test_header_within_a_text_is_not_taken_for_one() -> None:
    text = 'a = """\n[programs.x]\n[tees.t]\n"""\n'
    with pytest.raises(ManifestMalformed):
        add_table(text, ("programs", "c"), PROGRAM)


def test_table_that_is_there_is_not_added_again_under_another_spelling() -> None:
    for text in ("programs.c.digest = 1\n", "programs = {c = {}}\n", '["programs"."c"]\n'):
        with pytest.raises(AlreadyExists):
            add_table(text, ("programs", "c"), PROGRAM)


@given(st.lists(st.sampled_from([*TOML.splitlines(), f'digest = "{DIGEST}"', "[programs.z]", "]", '"""']), max_size=40))
def test_whatever_is_there_stays_or_the_addition_is_refused(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        found = tomllib.loads(add_table(text, ("programs", "c"), PROGRAM))
    except (ManifestError, AlreadyExists):
        return
    assert found["programs"].pop("c") == PROGRAM
    before = tomllib.loads(text)
    assert found == {"programs": {}, **before}
