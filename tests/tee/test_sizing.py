"""Sizes that fit together, and the refusal of those that cannot."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.errors import SizeRefused
from redoubt.limits import MAX_ENCLAVE_BYTES
from redoubt.tee.amount import GIB, MIB, gramine_size, jvm_size, occlum_size, parse_amount
from redoubt.tee.seed_sizes import SEED_SIZES, table
from redoubt.tee.sizing import Asked, LibraryOs, Role, compute_sizes

DRIVER = Asked(role=Role.DRIVER, memory=4 * GIB, cores=4)
OCCLUM = replace(DRIVER, library_os=LibraryOs.OCCLUM)


@given(
    role=st.sampled_from(Role),
    library_os=st.sampled_from(LibraryOs),
    memory=st.integers(64, 200 * 1024),
    cores=st.integers(1, 64),
    workers=st.integers(0, 64),
)
def test_sizes_hold_what_was_asked(role: Role, library_os: LibraryOs, memory: int, cores: int, workers: int) -> None:
    asked = Asked(role=role, library_os=library_os, memory=memory * MIB, cores=cores, python_workers=workers)
    try:
        sizes = compute_sizes(asked)
    except SizeRefused:
        assert memory < 450 or memory > 100 * 1024
        return
    assert sum(sizes.parts.values()) <= sizes.enclave <= MAX_ENCLAVE_BYTES
    assert sizes.heap in (0, asked.memory)
    if library_os is LibraryOs.GRAMINE:
        assert sizes.enclave & (sizes.enclave - 1) == 0
        assert sizes.kernel_heap is None
        assert sizes.enclaves == 2 + workers
    else:
        assert sizes.enclaves == 1
        assert sizes.kernel_heap
    # What was computed is accepted when it is asked for.
    again = compute_sizes(
        replace(asked, enclave=sizes.enclave, kernel_heap=sizes.kernel_heap, threads=sizes.threads, epc=sizes.epc)
    )
    assert again == sizes
    with pytest.raises(SizeRefused, match="the machine has"):
        compute_sizes(replace(asked, epc=sizes.epc - 1))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (replace(DRIVER, memory=449 * MIB), "Spark refuses to start"),
        (replace(DRIVER, role=Role.JVM, memory=1 * MIB), "nothing starts"),
        (replace(DRIVER, enclave=3 * GIB), "no power of two"),
        (replace(DRIVER, enclave=4 * GIB), "the JVM's heap alone takes 4GB"),
        (replace(OCCLUM, enclave=1 * GIB), "do not fit"),
        (replace(OCCLUM, kernel_heap=64 * MIB), "kernel heap of 64MB is too small"),
        (replace(OCCLUM, kernel_heap=100 * GIB), "never be used"),
        (replace(DRIVER, threads=16), "too few"),
        (replace(DRIVER, threads=100_000), "more than an enclave has room for"),
        (replace(DRIVER, memory=600 * GIB), "larger than any machine"),
        (replace(DRIVER, metaspace=1 * MIB), "metaspace"),
        (replace(DRIVER, cores=0), "cores"),
        (replace(DRIVER, python_workers=-1), "Python workers"),
        (replace(DRIVER, malloc_arenas=0), "malloc arenas"),
    ],
)
def test_impossible_sizes_are_refused_by_name(asked: Asked, words: str) -> None:
    with pytest.raises(SizeRefused, match=words):
        compute_sizes(asked)


def test_the_jvm_is_told_to_keep_to_its_sizes() -> None:
    options = compute_sizes(DRIVER).jvm_options
    assert options[:2] == ("-Xmx4g", "-XX:MaxMetaspaceSize=512m")
    assert compute_sizes(Asked(role=Role.PYTHON, memory=GIB)).jvm_options == ()


@pytest.mark.parametrize("text", ["", "4", "0g", "-1g", "4x", "1.5g", "4gg", "g", "4 gigabytes", "٤g", "99999999g"])
def test_amounts_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(SizeRefused, match="--memory"):
        parse_amount(text, name="--memory")


@given(st.integers(1, 10_000_000))
def test_amounts_are_written_as_they_are_read(mebibytes: int) -> None:
    amount = mebibytes * MIB
    for write in (gramine_size, occlum_size, jvm_size):
        text = write(amount)
        if len(text) < 9:
            assert parse_amount(text, name="it") == amount


def test_every_example_of_the_seeds_has_sizes_that_fit_it() -> None:
    assert len(table().splitlines()) == len(SEED_SIZES) + 2
    for row in SEED_SIZES:
        given_size = row.asked().enclave
        assert given_size is not None
        assert compute_sizes(row.asked(enclave=False)).enclave <= given_size, row
        compute_sizes(row.asked())
