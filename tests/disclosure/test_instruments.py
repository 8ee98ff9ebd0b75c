"""The instruments of the disclosure tests find what they must, where Spark itself would have written it."""

from __future__ import annotations

import base64
import gzip
import os
import random
import socket
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cramjam
import lz4.block
import lz4.frame
import pytest
import zstandard
from pyspark.sql import SparkSession
from tests.disclosure.capture import Loopback, tcp_streams, unavailable
from tests.disclosure.markers import Marker, Searcher, names

WORD = Marker.text("word")
NUMBER = Marker.number("number")
KEY = Marker("key", os.urandom(32))
SEARCHER = Searcher([WORD, NUMBER, KEY])
#: A marker that no compressor can leave standing in one piece: what follows a letter is repeated from before it.
HIDDEN = b"".join(WORD.raw[:end] for end in range(len(WORD.raw) + 1)) + WORD.raw * 3

ENCODINGS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda raw: raw,
    "utf-16": lambda raw: raw.decode("latin-1").encode("utf-16-le"),
    "utf-16be": lambda raw: raw.decode("latin-1").encode("utf-16-be"),
    "hex": lambda raw: raw.hex().encode(),
    "HEX": lambda raw: raw.hex().upper().encode(),
    "hex in utf-16": lambda raw: raw.hex().encode("utf-16-le"),
}
BASE64 = {"base64": base64.b64encode, "base64url": base64.urlsafe_b64encode}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "zlib 1": lambda raw: zlib.compress(raw, 1),
    "zlib 6": zlib.compress,
    "zlib 9": lambda raw: zlib.compress(raw, 9),
    "gzip": gzip.compress,
    "zstd": lambda raw: zstandard.ZstdCompressor().compress(raw),
    "lz4 frame": lz4.frame.compress,
    "snappy framed": lambda raw: bytes(cramjam.snappy.compress(raw)),
}


@pytest.mark.parametrize("marker", [WORD, NUMBER, KEY], ids=lambda marker: marker.name)
@pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize("offset", [0, 1, 4093])
def test_every_encoding_is_seen(marker: Marker, encode: Callable[[bytes], bytes], offset: int) -> None:
    assert names(SEARCHER.find(b"." * offset + encode(marker.raw))) == {marker.name}


@pytest.mark.parametrize("marker", [WORD, NUMBER, KEY], ids=lambda marker: marker.name)
@pytest.mark.parametrize("encode", BASE64.values(), ids=BASE64)
@pytest.mark.parametrize("before", range(4))
@pytest.mark.parametrize("after", range(4))
def test_base64_is_seen_at_every_alignment(
    marker: Marker, encode: Callable[[bytes], bytes], before: int, after: int
) -> None:
    content = encode(os.urandom(before) + marker.raw + os.urandom(after))
    assert marker.name in names(SEARCHER.find(content))


def test_binary_numbers_are_seen() -> None:
    number = int(NUMBER.value)
    for content in (number.to_bytes(8, "little"), number.to_bytes(8, "big")):
        assert names(SEARCHER.find(b"..." + content + b"...")) == {"number"}


@pytest.mark.parametrize("content", [b"", b"a", os.urandom(300_000), WORD.raw[:-1], KEY.raw[1:]])
def test_nothing_else_is_seen(content: bytes) -> None:
    assert SEARCHER.find(content) == frozenset()


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("before", [b"", os.urandom(1000)], ids=["at the start", "inside"])
def test_every_compression_is_seen(compress: Callable[[bytes], bytes], before: bytes) -> None:
    content = before + compress(HIDDEN) + os.urandom(100)
    assert any(hit.layers for hit in SEARCHER.find(content) if hit.marker == "word")


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_a_stream_that_was_cut_is_seen_as_far_as_it_goes(compress: Callable[[bytes], bytes]) -> None:
    # What follows fills a block of every format, so that the first one is whole.
    content = compress(HIDDEN + random.Random(0).randbytes(600_000))
    assert "word" in names(SEARCHER.find(content[:-1000]))


def test_formats_without_a_mark_are_seen_as_a_whole() -> None:
    for content in (bytes(cramjam.snappy.compress_raw(HIDDEN)), lz4.block.compress(HIDDEN)):
        assert any(hit.layers for hit in SEARCHER.find(content))


def test_layers_in_layers_are_seen() -> None:
    content = b"x" + gzip.compress(b"y" + zstandard.ZstdCompressor().compress(b"z" + zlib.compress(HIDDEN)))
    assert ("gzip", "zstd", "zlib") in {hit.layers for hit in SEARCHER.find(content)}


@pytest.mark.spark
@pytest.mark.parametrize("codec", ["lz4", "snappy", "zstd"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_what_sparks_own_codecs_write_is_seen(spark: SparkSession, tmp_path: Path, codec: str, pieces: int) -> None:
    """Spills are several compressed streams, one behind the other, in one file."""
    jvm: Any = spark._jvm
    made = jvm.org.apache.spark.io.CompressionCodec.createCodec(spark.sparkContext._jsc.sc().conf(), codec)
    path = tmp_path / "spill"
    file = jvm.java.io.FileOutputStream(str(path))
    for piece in range(pieces):
        buffer = jvm.java.io.ByteArrayOutputStream()
        stream = made.compressedOutputStream(buffer)
        stream.write(bytearray(HIDDEN if piece == pieces - 1 else os.urandom(5000)))
        stream.close()
        buffer.writeTo(file)
    file.close()
    assert any(hit.layers for hit in SEARCHER.find(path.read_bytes()))


@pytest.mark.skipif(unavailable() is not None, reason=unavailable() or "")
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_capture_holds_what_was_sent_in_order(tmp_path: Path, host: str) -> None:
    """On the host's own loopback: a capture in a namespace differs only in who else is heard."""
    sent = random.Random(1).randbytes(3_000_000) + WORD.raw
    pcap = tmp_path / "lo.pcap"
    with Loopback(pcap, own_network=False) as capture, socket.create_server((host, 0), family=_family(host)) as server:
        sender = threading.Thread(target=_send, args=(server.getsockname()[:2], sent))
        sender.start()
        with server.accept()[0] as connection:
            while connection.recv(1 << 16):
                pass
        sender.join()
        capture.stop()
    assert sent in tcp_streams(pcap.read_bytes()).values()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _send(address: tuple[str, int], content: bytes) -> None:
    with socket.create_connection(address) as connection:
        for start in range(0, len(content), 1 << 16):
            connection.sendall(content[start : start + (1 << 16)])
