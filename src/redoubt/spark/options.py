"""Options of the Data Source ``sealed``, read once, strictly: an unknown or impossible one is refused, never ignored.

Names and defaults are those of Spark's own csv, json and text readers and writers; names are case-insensitive. An
option that would change rows and is not supported is refused with the way to do it otherwise (``docs/spark.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeVar
from uuid import UUID

from redoubt.errors import OptionRefused

E = TypeVar("E", bound=StrEnum)


class SourceFormat(StrEnum):
    """Formats of the Data Source."""

    CSV = "csv"
    JSON = "json"
    TEXT = "text"


class ParseMode(StrEnum):
    """What to do with a record that does not fit the schema."""

    PERMISSIVE = "PERMISSIVE"
    DROPMALFORMED = "DROPMALFORMED"
    FAILFAST = "FAILFAST"


MEDIA_TYPES = {SourceFormat.CSV: "text/csv", SourceFormat.JSON: "application/jsonl", SourceFormat.TEXT: "text/plain"}
DEFAULT_SPLIT_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TextOptions:
    """Options that csv, json and text share. ``split_bytes`` is the plaintext size of a task's range."""

    format: SourceFormat
    path: str
    header: bool = False
    sep: str = ","
    quote: str = '"'
    escape: str = "\\"
    comment: str = ""
    null_value: str = ""
    #: None is the default, which differs: readers take "", the csv writer writes two quote characters.
    empty_value: str | None = None
    date_format: str | None = None
    timestamp_format: str | None = None
    timestamp_ntz_format: str | None = None
    multi_line: bool = False
    mode: ParseMode = ParseMode.PERMISSIVE
    corrupt_column: str = "_corrupt_record"
    enforce_schema: bool = True
    infer_schema: bool = False
    #: None is the default, which differs: readers keep blanks, the csv writer drops them.
    ignore_leading_space: bool | None = None
    ignore_trailing_space: bool | None = None
    line_separator: str | None = None
    quote_all: bool = False
    #: Empty where no one knows: then timestamps with time zone are refused.
    time_zone: str = "UTC"
    key: str | None = None
    at_commit: str | None = None
    dataset_id: UUID | None = None
    loose: bool = False
    split_bytes: int = DEFAULT_SPLIT_BYTES

    @classmethod
    def read(cls, raw: Mapping[str, str]) -> Self:
        """Read the options of a reader or writer.

        Raises:
            OptionRefused: no path, an unknown option, or a value that is not allowed.
        """
        given = {name.lower(): value for name, value in raw.items()}
        path = given.pop("path", "")
        if not path:
            raise OptionRefused("no path is given", hint='Name the dataset: .load("PATH") or .save("PATH").')
        values: dict[str, object] = {
            "path": path,
            "format": _choice(SourceFormat, given.pop("format", "csv"), "format"),
        }
        for name, value in given.items():
            if name in _BOOLEANS:
                values[_BOOLEANS[name]] = _boolean(name, value)
            elif name in _STRINGS:
                values[_STRINGS[name]] = value
            elif name == "mode":
                values["mode"] = _choice(ParseMode, value.upper(), "mode")
            elif name == "datasetid":
                values["dataset_id"] = _uuid(name, value)
            elif name == "maxsplitbytes":
                values["split_bytes"] = _positive(name, value)
            elif name == "encoding" or name == "charset":
                if value.lower().replace("-", "") != "utf8":
                    raise OptionRefused(f"encoding {value!r} is not supported: sealed text is UTF-8")
            else:
                raise OptionRefused(f"the option {name!r} is not known to the sealed Data Source")
        options = cls(**values)  # type: ignore[arg-type]
        options._check()
        return options

    @property
    def separator_bytes(self) -> bytes:
        """Bytes at which lines, and so splits, are cut."""
        return b"\n" if self.line_separator is None else self.line_separator.encode()

    def _check(self) -> None:
        for name, text in (("quote", self.quote), ("escape", self.escape), ("comment", self.comment)):
            if len(text) > 1:
                raise OptionRefused(f"{name} must be one character, not {text!r}")
        if not self.sep:
            raise OptionRefused("sep must not be empty")
        line_separator = self.separator_bytes
        if self.line_separator == "":
            raise OptionRefused("lineSep must not be empty")
        if any(line_separator.startswith(line_separator[cut:]) for cut in range(1, len(line_separator))):
            # In a run of such separators a task cannot tell where the lines before its split ended.
            raise OptionRefused(f"lineSep {self.line_separator!r} overlaps itself, so files cannot be split at it")


_BOOLEANS = {
    "header": "header",
    "multiline": "multi_line",
    "enforceschema": "enforce_schema",
    "inferschema": "infer_schema",
    "ignoreleadingwhitespace": "ignore_leading_space",
    "ignoretrailingwhitespace": "ignore_trailing_space",
    "quoteall": "quote_all",
    "loose": "loose",
}
_STRINGS = {
    "sep": "sep",
    "delimiter": "sep",
    "quote": "quote",
    "escape": "escape",
    "comment": "comment",
    "nullvalue": "null_value",
    "emptyvalue": "empty_value",
    "dateformat": "date_format",
    "timestampformat": "timestamp_format",
    "timestampntzformat": "timestamp_ntz_format",
    "columnnameofcorruptrecord": "corrupt_column",
    "linesep": "line_separator",
    "timezone": "time_zone",
    "key": "key",
    "atcommit": "at_commit",
}


def _boolean(name: str, value: str) -> bool:
    if value.lower() not in {"true", "false"}:
        raise OptionRefused(f"{name} must be true or false, not {value!r}")
    return value.lower() == "true"


def _positive(name: str, value: str) -> int:
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise OptionRefused(f"{name} must be a positive number of bytes, not {value!r}")
    return int(value)


def _uuid(name: str, value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        raise OptionRefused(f"{name} must be a dataset id as `redoubt inspect` shows it, not {value!r}") from None


def _choice(kind: type[E], value: str, name: str) -> E:
    try:
        return kind(value)
    except ValueError:
        raise OptionRefused(f"{name} must be one of {', '.join(kind)}, not {value!r}") from None
