"""The key endpoint's client: a :class:`redoubt.keys.provider.KeySource` for Python workers and readers."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import stat
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from redoubt import errors
from redoubt.errors import EndpointError, EndpointRefused, EndpointUnreachable, RedoubtError
from redoubt.keys.cache import CachingKeySource
from redoubt.keys.register import CommitHead
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import ENDPOINT_TIMEOUT_SECONDS, MAX_ENDPOINT_RESPONSE_BYTES
from redoubt.protocol.endpoint import (
    API_VERSION,
    ENDPOINT_FILE,
    ENDPOINT_VARIABLE,
    ERROR_URN,
    DataKeyRequest,
    announced_path,
    decode_announced,
    decode_data_key,
    decode_head,
    decode_health,
    decode_keys,
    encode_announcement,
    encode_heads,
    register_path,
    unwrap_in_batches,
)

#: What ``endpoint.json`` holds beside version and transport.
_MEMBERS: Mapping[str, Mapping[str, type]] = {
    "unix": {"socket": str},
    "tls": {"port": int, "certificate": str, "token": str},
}


class EndpointClient:
    """Asks the key endpoint in *folder* for data keys. A connection is made for each call."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._endpoint = _describe(folder)

    def new_data_key(self, key: str | None, context: WrapContext) -> tuple[DataKey, WrappedKey]:
        """Make a data key; see :class:`redoubt.keys.provider.KeySource`."""
        request = DataKeyRequest(key, context)
        return decode_data_key(self._call("POST", "/v1/data-keys", request.encode()), request)

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> list[DataKey]:
        """Unwrap, in batches of one dataset and purpose, in order."""
        return unwrap_in_batches(wrapped, lambda it: decode_keys(self._call("POST", "/v1/unwrap", it.encode()), it))

    def registered_head(self, dataset_id: UUID) -> CommitHead | None:
        """Return the registered head of a dataset; see :class:`redoubt.keys.register.HeadRegister`."""
        return decode_head(self._call("GET", register_path(dataset_id), b""))

    def register_head(self, dataset_id: UUID, *, previous: CommitHead | None, head: CommitHead) -> None:
        """Register a head; see :class:`redoubt.keys.register.HeadRegister`."""
        self._call("POST", register_path(dataset_id), encode_heads(previous=previous, head=head))

    def announced_heads(self, dataset_id: UUID) -> frozenset[CommitHead]:
        """Return the announced commits of a dataset; see :class:`redoubt.keys.register.HeadRegister`."""
        return decode_announced(self._call("GET", announced_path(dataset_id), b""))

    def announce_head(self, dataset_id: UUID, head: CommitHead) -> None:
        """Announce a commit; see :class:`redoubt.keys.register.HeadRegister`."""
        self._call("POST", announced_path(dataset_id), encode_announcement(head))

    def health(self) -> dict[str, Any]:
        """Return the endpoint's own description; raises EndpointError if it is another API or version."""
        return decode_health(self._call("GET", "/v1/health", b""))

    def _call(self, method: str, path: str, body: bytes) -> bytes:
        connection = self._connect()
        headers = {"Content-Type": "application/json", "Connection": "close", **self._authorisation()}
        try:
            with contextlib.suppress(BrokenPipeError):  # refused before the body was sent: the answer says why
                connection.request(method, path, body=body, headers=headers)
            response = connection.getresponse()
            content = response.read(MAX_ENDPOINT_RESPONSE_BYTES + 1)
        except ssl.SSLCertVerificationError as error:
            raise EndpointRefused(f"what answers is not the key endpoint in {self._folder}: {error.reason}") from None
        except (OSError, http.client.HTTPException) as error:
            raise EndpointUnreachable(f"the key endpoint in {self._folder} does not answer: {error}") from None
        finally:
            connection.close()
        if len(content) > MAX_ENDPOINT_RESPONSE_BYTES:
            raise EndpointError(f"the key endpoint's answer exceeds {MAX_ENDPOINT_RESPONSE_BYTES} bytes")
        if response.status != http.client.OK:
            raise _problem(content)
        return content

    def _connect(self) -> http.client.HTTPConnection:
        if self._endpoint["transport"] == "unix":
            return _UnixConnection(self._folder / self._endpoint["socket"])
        pem = _private_file(self._folder / self._endpoint["certificate"]).decode("ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_verify_locations(cadata=pem)
        return http.client.HTTPSConnection(
            "127.0.0.1", self._endpoint["port"], timeout=ENDPOINT_TIMEOUT_SECONDS, context=context
        )

    def _authorisation(self) -> dict[str, str]:
        if self._endpoint["transport"] == "unix":
            return {}
        token = _private_file(self._folder / self._endpoint["token"]).decode("ascii")
        return {"Authorization": f"Bearer {token}"}


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ENDPOINT_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def endpoint_keys(folder: str | None = None) -> CachingKeySource:
    """Return the key source of the endpoint in *folder* (default: ``$REDOUBT_ENDPOINT``), one a process and folder.

    Raises:
        EndpointUnreachable: no folder is named, or it describes no endpoint.
    """
    name = folder or os.environ.get(ENDPOINT_VARIABLE)
    if not name:
        raise EndpointUnreachable(f"no key endpoint is configured ({ENDPOINT_VARIABLE} is not set)")
    return _endpoint_keys(name)


@lru_cache(maxsize=8)
def _endpoint_keys(folder: str) -> CachingKeySource:
    return CachingKeySource(EndpointClient(Path(folder)))


def _describe(folder: Path) -> dict[str, Any]:
    """Read ``endpoint.json`` after checking that nobody else could have written it."""
    try:
        status = folder.stat()
    except OSError:
        raise EndpointUnreachable(f"there is no key endpoint in {folder}") from None
    if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise EndpointRefused(f"the endpoint folder {folder} is not private to this user")
    try:
        raw = json.loads(_private_file(folder / ENDPOINT_FILE))
    except ValueError:
        raise EndpointError(f"{folder / ENDPOINT_FILE} is not JSON") from None
    transport = raw.get("transport") if isinstance(raw, dict) else None
    members = _MEMBERS.get(str(transport), {})
    well_formed = (
        members
        and raw.get("version") == API_VERSION
        and set(raw) == {"version", "transport", *members}
        and all(type(raw[name]) is kind and "/" not in str(raw[name]) for name, kind in members.items())
        and raw.get("port", 1) in range(1, 65536)
    )
    if not well_formed:
        raise EndpointError(f"{folder / ENDPOINT_FILE} does not describe a key endpoint of version {API_VERSION}")
    return dict(raw)


def _private_file(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise EndpointUnreachable(f"there is no key endpoint: {path} is missing") from None
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o077:
            raise EndpointRefused(f"{path} is not private to this user")
        return file.read(65536)


def _problem(content: bytes) -> RedoubtError:
    """Turn a problem document back into the error it stands for, or into EndpointError."""
    try:
        problem = json.loads(content)
        code = str(problem["type"]).removeprefix(ERROR_URN)
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return EndpointError("the key endpoint answered with an error that is no problem document")
    return errors.by_code().get(code, EndpointError)(detail)
