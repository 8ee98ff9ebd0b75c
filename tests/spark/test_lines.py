"""Splitting into lines: every line exactly once, whatever the splits, lengths and separators (hardening H28)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.spark import lines
from redoubt.spark.lines import line_blocks


class Memory:
    """A range reader of bytes, which hands out blocks of a given size."""

    def __init__(self, data: bytes, block: int) -> None:
        self.data = data
        self.block = block

    @property
    def size(self) -> int:
        return len(self.data)

    def blocks(self, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
        end = min(self.size if end is None else end, self.size)
        for offset in range(start, end, self.block):
            yield memoryview(self.data)[offset : min(offset + self.block, end)]

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return self.data[start:end]


TEXTS = st.lists(st.text("ab\r", max_size=12), max_size=12)


@given(TEXTS, st.sampled_from([b"\n", b"\r\n", b"|+", b";"]), st.booleans(), st.data())
@pytest.mark.parametrize("tail", [1, 7, 65536])
def test_every_line_is_owned_by_exactly_one_split(
    tail: int, texts: list[str], sep: bytes, end: bool, data: st.DataObject
) -> None:
    original, lines._TAIL_BYTES = lines._TAIL_BYTES, tail
    try:
        content = sep.join(text.replace("\r", "x" if sep == b"\r\n" else "\r").encode() for text in texts) + sep * end
        cuts = sorted(data.draw(st.sets(st.integers(0, len(content) + 2), max_size=6)) | {0, len(content) + 2})
        reader = Memory(content, data.draw(st.integers(1, 9)))
        found = []
        for start, stop in pairwise(cuts):
            for block in line_blocks(reader, start, stop, separator=sep):
                found.append(block)
                assert block.endswith(sep) or content.endswith(block)
        assert b"".join(found) == content
    finally:
        lines._TAIL_BYTES = original


def test_a_split_reads_only_its_range_and_the_tail_of_its_last_line() -> None:
    touched: list[tuple[int, int]] = []

    class Watched(Memory):
        def blocks(self, start: int = 0, end: int | None = None) -> Iterator[memoryview]:
            touched.append((start, end or self.size))
            return super().blocks(start, end)

        def read(self, start: int = 0, end: int | None = None) -> bytes:
            touched.append((start, end or self.size))
            return super().read(start, end)

    content = b"0123456789\n" * 100_000
    got = b"".join(line_blocks(Watched(content, 4096), 300_000, 400_000))
    assert got.startswith(b"0123456789\n")
    assert content.find(got) >= 0
    assert min(start for start, _ in touched) == 299_999
    assert max(stop for _, stop in touched) <= 400_000 + lines._TAIL_BYTES


@pytest.mark.parametrize("split", [0, 1])
def test_a_line_of_many_blocks_is_searched_once(split: int) -> None:
    """Quadratic work would take minutes here: 64 MiB without a separator, in blocks of 64 KiB and less."""

    content = b"x" * (64 << 20)
    reader = Memory(content, 1 << 16)
    if split:
        assert list(line_blocks(reader, 1, len(content))) == []
    else:
        assert sum(map(len, line_blocks(reader, 0, 10))) == len(content)
