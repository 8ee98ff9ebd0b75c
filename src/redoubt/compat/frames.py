"""Readers and writers of ``PPMLContext``: Spark's own, on sealed data.

A read with a crypto mode takes a sealed dataset, at the head that was checked, a standalone sealed file, or legacy
files: these are sealed into the context's private scratch first, so that no plaintext touches a disk. Plaintext under
a crypto mode is refused. Whatever mode a write names, but plain text, it writes sealed data; plain text needs the grant
``redoubt.plaintext=allow``, of the write or of the program.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from redoubt.compat.crypto_mode import CryptoMode
from redoubt.errors import ModeRefused, NotFound, PlaintextRefused
from redoubt.limits import MAX_HEADER_BYTES
from redoubt.sealed.dataset import Dataset, commit_numbers
from redoubt.sealed.local import LocalFile
from redoubt.sealed.objects import storage_for
from redoubt.sealed.slots import is_sealed
from redoubt.spark.application import keys_of
from redoubt.spark.parquet import java_errors

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, DataFrameReader, SparkSession
    from pyspark.sql.types import StructType

    from redoubt.keys.names import KeyName

PLAINTEXT: Final = "redoubt.plaintext"
_GRANT: Final = "allow"
_AT: Final = "redoubt.read.commit"
_KEY: Final = "redoubt.key"
_MODES: Final = ("overwrite", "append", "ignore", "error", "errorifexists", "default")


class Context(Protocol):
    """What readers and writers need of the context."""

    spark: SparkSession

    def sealed_copy(self, path: str, primary_key_name: str) -> str:
        """Return a sealed dataset of the legacy files at *path*."""

    def key_of(self, primary_key_name: str) -> KeyName | None:
        """Return the Redoubt key of a primary key; None is the default."""

    def say_once(self, text: str) -> None:
        """Tell the user, once a context."""


def resolve(context: Context, path: str, mode: CryptoMode, primary_key_name: str) -> tuple[str, Mapping[str, str]]:
    """Return where the sealed or plain data at *path* is read, and the options that pin it.

    Raises:
        NotFound: there is nothing.
        LegacyError, SealedError, KeyError_: it is not authentic, or its key cannot be had.
    """
    local = Path(path.removeprefix("file://"))
    is_dataset = not local.is_file() and bool(commit_numbers(storage_for(path)))
    if mode is CryptoMode.PLAIN_TEXT:
        return path, {} if is_dataset else {PLAINTEXT: _GRANT}
    if not is_dataset:
        if not local.exists():
            raise NotFound(f"{path} does not exist")
        if local.is_file() and _is_sealed_file(local):
            return path, {}
        path = context.sealed_copy(path, primary_key_name)
    dataset = Dataset.open(path, keys=keys_of(context.spark))
    return path, {_AT: dataset.commit_digest}


def _is_sealed_file(path: Path) -> bool:
    start = bytearray(MAX_HEADER_BYTES)
    with contextlib.closing(LocalFile(path)) as file:
        return is_sealed(bytes(start[: file.read_into(0, memoryview(start))]))


class EncryptedDataFrameReader:
    """``context.read(mode, key)``: options and a schema, then the data."""

    def __init__(self, context: Context, mode: CryptoMode, primary_key_name: str) -> None:
        self._context = context
        self._mode = mode
        self._key = primary_key_name
        self._options: dict[str, str] = {}
        self._schema: StructType | str | None = None

    def option(self, key: str, value: str | bool | int) -> Self:  # noqa: FBT001 - Spark's signature
        """Set one of Spark's options."""
        self._options[key] = _text(value)
        return self

    def schema(self, value: StructType | str) -> Self:
        """Set the schema."""
        self._schema = value
        return self

    def csv(self, path: str) -> DataFrame:
        """Read csv."""
        place, reader = self._reader(path)
        return reader.csv(place)

    def json(self, path: str) -> DataFrame:
        """Read JSON lines."""
        place, reader = self._reader(path)
        return reader.json(place)

    def text(self, path: str) -> DataFrame:
        """Read lines."""
        place, reader = self._reader(path)
        return reader.text(place)

    def parquet(self, path: str) -> DataFrame:
        """Read Parquet, plain or sealed; what BigDL PPML encrypted with its mock key service cannot be read."""
        place, reader = self._reader(path)
        with java_errors():
            return reader.parquet(place)

    def _reader(self, path: str) -> tuple[str, DataFrameReader]:
        place, pinned = resolve(self._context, path, self._mode, self._key)
        reader = self._context.spark.read.options(**{**self._options, **pinned})
        return place, reader if self._schema is None else reader.schema(self._schema)


class EncryptedDataFrameWriter:
    """``context.write(df, mode, key)``: options and a save mode, then where to."""

    support_mode = frozenset(_MODES)

    def __init__(self, context: Context, frame: DataFrame, mode: CryptoMode, primary_key_name: str) -> None:
        self._context = context
        self._frame = frame
        self._crypto = mode
        self._key = primary_key_name
        self._options: dict[str, str] = {}
        self._mode = "errorifexists"

    def option(self, key: str, value: str | bool | int) -> Self:  # noqa: FBT001 - Spark's signature
        """Set one of Spark's options."""
        self._options[key] = _text(value)
        return self

    def mode(self, mode: str) -> Self:
        """Say what happens to data that is there; raises ModeRefused."""
        if mode.lower() not in _MODES:
            raise ModeRefused(f"Unknown save mode: {mode[:32]!r}; accepted are {', '.join(_MODES)}")
        self._mode = "errorifexists" if mode.lower() == "default" else mode.lower()
        return self

    def csv(self, path: str) -> None:
        """Write csv."""
        self._save("csv", path)

    def json(self, path: str) -> None:
        """Write JSON lines."""
        self._save("json", path)

    def text(self, path: str) -> None:
        """Write lines."""
        self._save("text", path)

    def parquet(self, path: str) -> None:
        """Write Parquet."""
        self._save("parquet", path)

    def _save(self, kind: str, path: str) -> None:
        if self._crypto is CryptoMode.PLAIN_TEXT:
            options = {**self._options, PLAINTEXT: self._granted(path)}
        else:
            key = self._context.key_of(self._key)
            options = {**self._options, **({_KEY: str(key)} if key is not None else {})}
            self._context.say_once(f"{self._crypto.value} is written as sealed data: nothing legacy is written")
        with java_errors():
            self._frame.write.mode(self._mode).options(**options).format(kind).save(path)

    def _granted(self, path: str) -> str:
        hadoop = self._context.spark.sparkContext.getConf().get(f"spark.hadoop.{PLAINTEXT}")
        if _GRANT not in (self._options.get(PLAINTEXT), hadoop):
            raise PlaintextRefused(
                f"{path} would be written as plain text",
                hint=f'Grant it in the program, .option("{PLAINTEXT}", "{_GRANT}"), or to all of it: `redoubt submit '
                f"--conf spark.hadoop.{PLAINTEXT}={_GRANT} --allow spark.hadoop.{PLAINTEXT}`.",
            )
        return _GRANT


def _text(value: str | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
