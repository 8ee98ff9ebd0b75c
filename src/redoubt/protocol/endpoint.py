"""Messages of the key endpoint, API version 1 (``docs/endpoint.md``). Pure: JSON bytes to values and back, strictly."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redoubt.errors import EndpointError, HeaderInvalid
from redoubt.keys.register import CommitHead
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.limits import (
    DATA_KEY_BYTES,
    MAX_ANNOUNCED_HEADS,
    MAX_COMMIT_NUMBER,
    MAX_ENDPOINT_REQUEST_BYTES,
    MAX_KEY_BATCH,
)

API_NAME = "redoubt-key-endpoint"
API_VERSION = 1
ENDPOINT_VARIABLE = "REDOUBT_ENDPOINT"
ENDPOINT_FILE = "endpoint.json"
ERROR_URN = "urn:redoubt:error:"
REGISTER_PATH = "/v1/register/"
ANNOUNCED_PATH = "/v1/announced/"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
#: As the api-server-rest of Confidential Containers' data hub (CDH) serves it.
RESOURCE_PATH = "/cdh/resource/"
RESOURCE_NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}/){2}[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class UnwrapRequest:
    """Records to unwrap, all of one dataset and purpose."""

    dataset_id: UUID
    purpose: Purpose
    records: tuple[WrappedKey, ...]

    def encode(self) -> bytes:
        """Return the request body."""
        return _dump(
            {
                "dataset": str(self.dataset_id),
                "purpose": self.purpose.value,
                "records": [_base64(record.encode()) for record in self.records],
            }
        )

    @classmethod
    def decode(cls, body: bytes) -> UnwrapRequest:
        """Parse and check a request body.

        Raises:
            EndpointError: malformed, too many records, or a record of another dataset or purpose.
        """
        raw = _load(body, {"dataset", "purpose", "records"})
        records = raw["records"]
        if not isinstance(records, list) or not 1 <= len(records) <= MAX_KEY_BATCH:
            raise EndpointError(f"an unwrap request has 1 to {MAX_KEY_BATCH} records")
        try:
            request = cls(
                UUID(raw["dataset"]),
                Purpose(raw["purpose"]),
                tuple(WrappedKey.decode(_bytes(item)) for item in records),
            )
        except (ValueError, TypeError, AttributeError):
            raise EndpointError("the unwrap request has a malformed member") from None
        except HeaderInvalid as error:
            raise EndpointError(f"the unwrap request holds no wrapped key: {error.what}") from None
        for record in request.records:
            if (record.context.dataset_id, record.context.purpose) != (request.dataset_id, request.purpose):
                raise EndpointError("the request holds a record of another dataset or purpose than it states")
        return request


@dataclass(frozen=True, slots=True)
class DataKeyRequest:
    """A fresh data key to make. ``key`` is a primary key as a person would name it, or None for the default."""

    key: str | None
    context: WrapContext

    def encode(self) -> bytes:
        """Return the request body."""
        return _dump(
            {
                "key": self.key,
                "dataset": str(self.context.dataset_id),
                "data_key": str(self.context.data_key_id),
                "purpose": self.context.purpose.value,
            }
        )

    @classmethod
    def decode(cls, body: bytes) -> DataKeyRequest:
        """Parse a request body; raises EndpointError."""
        raw = _load(body, {"key", "dataset", "data_key", "purpose"})
        if raw["key"] is not None and not isinstance(raw["key"], str):
            raise EndpointError("the data-key request has a malformed member")
        try:
            context = WrapContext(UUID(raw["dataset"]), UUID(raw["data_key"]), Purpose(raw["purpose"]))
        except (ValueError, TypeError, AttributeError):
            raise EndpointError("the data-key request has a malformed member") from None
        return cls(raw["key"], context)


def unwrap_in_batches(
    wrapped: Sequence[WrappedKey], ask: Callable[[UnwrapRequest], Sequence[DataKey]]
) -> list[DataKey]:
    """Return the data keys of *wrapped*, in order, *ask* being asked in batches of one dataset and purpose."""
    groups: dict[tuple[UUID, Purpose], list[int]] = {}
    for index, item in enumerate(wrapped):
        groups.setdefault((item.context.dataset_id, item.context.purpose), []).append(index)
    found: dict[int, DataKey] = {}
    for (dataset_id, purpose), indexes in groups.items():
        for start in range(0, len(indexes), MAX_KEY_BATCH):
            batch = indexes[start : start + MAX_KEY_BATCH]
            request = UnwrapRequest(dataset_id, purpose, tuple(wrapped[index] for index in batch))
            found.update(zip(batch, ask(request), strict=True))
    return [found[index] for index in range(len(wrapped))]


def encode_keys(keys: Sequence[DataKey]) -> bytes:
    """Return the response to an unwrap request."""
    return _dump({"keys": key_items(keys)})


def key_items(keys: Sequence[DataKey]) -> list[dict[str, str]]:
    """Return *keys* as they stand in answers."""
    return [{"id": str(key.id), "secret": _base64(key.secret)} for key in keys]


def decode_keys(body: bytes, request: UnwrapRequest) -> list[DataKey]:
    """Parse the response to *request*; raises EndpointError if it does not answer exactly what was asked."""
    return read_key_items(_load(body, {"keys"})["keys"], request)


def read_key_items(items: Any, request: UnwrapRequest) -> list[DataKey]:
    """Return the keys in *items* of an answer to *request*; raises EndpointError as :func:`decode_keys`."""
    if not isinstance(items, list) or len(items) != len(request.records):
        raise EndpointError("the endpoint's response does not match the request")
    keys: list[DataKey] = []
    for item, record in zip(items, request.records, strict=True):
        if not isinstance(item, dict) or item.get("id") != str(record.context.data_key_id):
            raise EndpointError("the endpoint's response does not match the request")
        keys.append(_data_key(record.context, item.get("secret")))
    return keys


def encode_data_key(key: DataKey, wrapped: WrappedKey) -> bytes:
    """Return the response to a data-key request."""
    return _dump({"record": _base64(wrapped.encode()), "secret": _base64(key.secret)})


def decode_data_key(body: bytes, request: DataKeyRequest) -> tuple[DataKey, WrappedKey]:
    """Parse the response to *request*; raises EndpointError."""
    raw = _load(body, {"record", "secret"})
    return read_data_key(raw["record"], raw["secret"], request)


def read_data_key(record: Any, secret: Any, request: DataKeyRequest) -> tuple[DataKey, WrappedKey]:
    """Return what these members of an answer to *request* say; raises EndpointError."""
    try:
        wrapped = WrappedKey.decode(_bytes(record))
    except HeaderInvalid as error:
        raise EndpointError(f"the endpoint's response holds no wrapped key: {error.what}") from None
    if wrapped.context != request.context:
        raise EndpointError("the endpoint made a data key for another context than asked")
    return _data_key(request.context, secret), wrapped


def encode_head(head: CommitHead | None) -> bytes:
    """Return the response that tells a registered head."""
    return _dump({"head": _head(head)})


def decode_head(body: bytes) -> CommitHead | None:
    """Parse such a response; raises EndpointError."""
    return _read_head(_load(body, {"head"})["head"])


def encode_heads(*, previous: CommitHead | None, head: CommitHead) -> bytes:
    """Return the request to register *head*."""
    return _dump({"previous": _head(previous), "head": _head(head)})


def decode_heads(body: bytes) -> tuple[CommitHead | None, CommitHead]:
    """Parse such a request; raises EndpointError."""
    raw = _load(body, {"previous", "head"})
    head = _read_head(raw["head"])
    if head is None:
        raise EndpointError("the request names no head")
    return _read_head(raw["previous"]), head


def encode_announced(heads: Iterable[CommitHead]) -> bytes:
    """Return the response that tells the announced commits."""
    return _dump({"heads": [_head(it) for it in sorted(heads, key=lambda it: (it.number, it.digest))]})


def decode_announced(body: bytes) -> frozenset[CommitHead]:
    """Parse such a response; raises EndpointError."""
    listed = _load(body, {"heads"})["heads"]
    if not isinstance(listed, list) or len(listed) > MAX_ANNOUNCED_HEADS:
        raise EndpointError("the announced commits are no list, or too many")
    heads = [_read_head(it) for it in listed]
    return frozenset(it for it in heads if it is not None)


def encode_announcement(head: CommitHead) -> bytes:
    """Return the request to announce *head*."""
    return _dump({"head": _head(head)})


def decode_announcement(body: bytes) -> CommitHead:
    """Parse such a request; raises EndpointError."""
    head = decode_head(body)
    if head is None:
        raise EndpointError("the request names no head")
    return head


def register_path(dataset_id: UUID) -> str:
    """Return the path of a dataset's registered head."""
    return f"{REGISTER_PATH}{dataset_id}"


def announced_path(dataset_id: UUID) -> str:
    """Return the path of a dataset's announced commits."""
    return f"{ANNOUNCED_PATH}{dataset_id}"


def dataset_of(path: str) -> UUID:
    """Return the dataset whose registered head or announced commits lie under *path*; raises EndpointError."""
    text = path.removeprefix(REGISTER_PATH).removeprefix(ANNOUNCED_PATH)
    try:
        found = UUID(text)
    except ValueError:
        raise EndpointError("the path names no dataset") from None
    if str(found) != text:
        raise EndpointError("the path names no dataset in its one spelling")
    return found


def _head(head: CommitHead | None) -> dict[str, Any] | None:
    return None if head is None else {"number": head.number, "digest": head.digest}


def _read_head(value: Any) -> CommitHead | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"number", "digest"}:
        raise EndpointError("a head is not {number, digest}")
    number, digest = value["number"], value["digest"]
    if type(number) is not int or not 1 <= number <= MAX_COMMIT_NUMBER or not isinstance(digest, str):
        raise EndpointError("a head has a malformed member")
    if not _DIGEST.fullmatch(digest):
        raise EndpointError("a head's digest is none")
    return CommitHead(number, digest)


def decode_health(body: bytes) -> dict[str, Any]:
    """Parse the response to a health request; raises EndpointError if it is another API or version."""
    raw = _load(body, {"api", "version"})
    if raw != {"api": API_NAME, "version": API_VERSION}:
        raise EndpointError(f"what answers is not a key endpoint of version {API_VERSION}")
    return raw


def _data_key(context: WrapContext, secret: Any) -> DataKey:
    raw = _bytes(secret)
    if len(raw) != DATA_KEY_BYTES:
        raise EndpointError("the endpoint's response holds a data key of another size")
    return DataKey(context=context, secret=raw)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(text: Any) -> bytes:
    if not isinstance(text, str):
        raise EndpointError("a byte string is missing")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise EndpointError("a byte string is not base64") from None


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(body: bytes, members: set[str]) -> dict[str, Any]:
    if len(body) > MAX_ENDPOINT_REQUEST_BYTES:
        raise EndpointError(f"a message of the key endpoint has at most {MAX_ENDPOINT_REQUEST_BYTES} bytes")
    try:
        raw = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise EndpointError("the message is not JSON") from None
    if not isinstance(raw, dict) or set(raw) != members:
        raise EndpointError("the message has unknown or missing members")
    return raw
