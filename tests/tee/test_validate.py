"""Manifests of library operating systems: what is right passes, each thing that is wrong is refused by its key."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.tee.mutations import mutant
from tests.tee.samples import gramine, occlum, sample, written

from redoubt.errors import (
    RedoubtError,
    TeeFileInvalid,
    TeeInconsistent,
    TeeInsecure,
    TeeManifestInvalid,
    TeeUnmeasured,
    TeeValueInvalid,
)
from redoubt.tee.validate import ManifestKind, kind_of, validate

KINDS = pytest.mark.parametrize("kind", list(ManifestKind))


def refused_key(tree: dict[str, Any], kind: ManifestKind, error: type[TeeManifestInvalid]) -> str:
    with pytest.raises(error) as refused:
        validate(written(tree, kind), kind=kind)
    return refused.value.key


def refuse_mutants(kind: ManifestKind, *, count: int, seed: int) -> set[str]:
    """Validate *count* mutants, and return the sorts of them."""
    chance, sorts = random.Random(seed), set()
    for number in range(count):
        made = mutant(kind, chance)
        sorts.add(made.what)
        assert refused_key(made.tree, kind, made.error) == made.key, (number, made.what)
    return sorts


@KINDS
def test_a_manifest_that_is_right_passes(kind: ManifestKind) -> None:
    assert validate(written(sample(kind), kind), kind=kind) == sample(kind)


@KINDS
def test_mutated_manifests_are_refused_with_the_key_named(kind: ManifestKind) -> None:
    assert len(refuse_mutants(kind, count=300, seed=20261126)) == 8


@pytest.mark.soak
@KINDS
def test_ten_thousand_mutated_manifests_are_refused_with_the_key_named(kind: ManifestKind) -> None:
    refuse_mutants(kind, count=10_000, seed=5)


@KINDS
@given(content=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_whatever_is_no_manifest_is_refused(kind: ManifestKind, content: bytes) -> None:
    with pytest.raises(RedoubtError):
        validate(content, kind=kind)


def test_a_key_that_is_named_twice_is_refused() -> None:
    text = written(gramine(), ManifestKind.GRAMINE) + b"\n[libos]\nentrypoint = '/bin/evil'\n"
    with pytest.raises(TeeFileInvalid):
        validate(text, kind=ManifestKind.GRAMINE)
    twice = written(occlum(), ManifestKind.OCCLUM).replace(b"{", b'{"env": {}, ', 1)
    with pytest.raises(TeeFileInvalid):
        validate(twice, kind=ManifestKind.OCCLUM)


def test_kinds_go_by_the_name_of_the_file() -> None:
    assert kind_of("instance/Occlum.json") is ManifestKind.OCCLUM
    assert kind_of("job.manifest") is kind_of("job.manifest.toml") is ManifestKind.GRAMINE


# --- Gramine ----------------------------------------------------------------------------------------------------------
def test_a_trusted_folder_without_digests_is_refused_unless_it_is_the_runtime() -> None:
    tree = gramine()
    tree["sgx"]["trusted_files"].append({"uri": "file:/usr/lib/python3/"})
    assert refused_key(tree, ManifestKind.GRAMINE, TeeUnmeasured) == "sgx.trusted_files[3].sha256"
    tree["sgx"]["trusted_files"][3] = {"uri": "file:/usr/lib/x86_64-linux-gnu/gramine-evil/"}
    refused_key(tree, ManifestKind.GRAMINE, TeeUnmeasured)


def test_a_file_that_is_trusted_with_two_contents_is_refused() -> None:
    tree = gramine()
    tree["sgx"]["trusted_files"].append({"uri": "file:/srv/job/job.py", "sha256": "00" * 32})
    assert refused_key(tree, ManifestKind.GRAMINE, TeeInconsistent) == "sgx.trusted_files[3].uri"


def test_a_folder_of_the_hosts_that_holds_the_program_is_refused() -> None:
    for folder in ("file:/srv/job/", "file:/srv/", "file:/var/lib/redoubt/scratch/", "file:/var/lib/"):
        tree = gramine()
        tree["sgx"]["allowed_files"] = [folder]
        assert refused_key(tree, ManifestKind.GRAMINE, TeeInsecure) == "sgx.allowed_files[0]"


@pytest.mark.parametrize("entrypoint", ["/usr/bin/perl", "/srv/job/other.py", "/redoubt/scratch/python", "/nowhere"])
def test_an_entry_point_that_is_not_measured_is_refused(entrypoint: str) -> None:
    tree = gramine()
    tree["libos"]["entrypoint"] = entrypoint
    assert refused_key(tree, ManifestKind.GRAMINE, TeeInconsistent) == "libos.entrypoint"


@pytest.mark.parametrize("folder", ["/srv/sealed", "/srv/job", "/", "/tmp/../srv/sealed", "tmp", ""])
@pytest.mark.parametrize("name", ["HOME", "TMPDIR"])
def test_temporary_files_on_the_host_are_refused(name: str, folder: str) -> None:
    tree = gramine()
    tree["loader"]["env"][name] = folder
    assert refused_key(tree, ManifestKind.GRAMINE, TeeInconsistent) == f"loader.env.{name}"


def test_a_mount_of_the_host_below_a_private_one_is_seen() -> None:
    tree = gramine()
    tree["fs"]["mounts"].append({"path": "/redoubt/scratch/tmp", "type": "chroot", "uri": "file:/srv/sealed"})
    tree["loader"]["env"]["TMPDIR"] = "/redoubt/scratch/tmp"
    assert refused_key(tree, ManifestKind.GRAMINE, TeeInconsistent) == "loader.env.TMPDIR"


# --- Occlum -----------------------------------------------------------------------------------------------------------
def test_another_order_of_layers_is_refused() -> None:
    tree = occlum()
    tree["mount"][0]["options"]["layers"].reverse()
    assert refused_key(tree, ManifestKind.OCCLUM, TeeInsecure) == "mount[0].options.layers"


def test_an_instance_without_its_root_is_refused() -> None:
    tree = occlum()
    del tree["mount"][0]
    assert refused_key(tree, ManifestKind.OCCLUM, TeeInconsistent) == "mount"


@pytest.mark.parametrize("folder", ["/srv/sealed", "/srv/sealed/tmp", "/tmp/../srv/sealed", "tmp"])
def test_temporary_files_in_a_folder_of_the_hosts_are_refused(folder: str) -> None:
    tree = occlum()
    tree["env"]["default"][2] = f"TMPDIR={folder}"
    assert refused_key(tree, ManifestKind.OCCLUM, TeeInconsistent) == "env.default[2]"


def test_a_variable_that_is_named_twice_is_refused() -> None:
    tree = occlum()
    tree["env"]["default"].append("HOME=/root")
    assert refused_key(tree, ManifestKind.OCCLUM, TeeValueInvalid) == "env.default[3]"
