"""Messages of the key endpoint, API version 1 (``docs/endpoint.md``). Pure: JSON bytes to values and back, strictly."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from redoubt.errors import EndpointError, HeaderInvalid
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.limits import DATA_KEY_BYTES, MAX_ENDPOINT_REQUEST_BYTES, MAX_KEY_BATCH

API_NAME = "redoubt-key-endpoint"
API_VERSION = 1
ENDPOINT_VARIABLE = "REDOUBT_ENDPOINT"
ENDPOINT_FILE = "endpoint.json"
ERROR_URN = "urn:redoubt:error:"


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
