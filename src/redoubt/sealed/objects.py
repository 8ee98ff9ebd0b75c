"""Storage on object stores and other file systems that ``pyarrow.fs`` reaches (S3, GCS, Azure, HDFS).

``pyarrow.fs`` has no conditional put. For S3 it comes from boto3's ``put_object(IfNoneMatch="*")``; elsewhere
``put_if_absent`` looks first and is safe for one writer at a time only (``conditional`` is False). Credentials are
those of the store's own environment variables and files; a location carries none.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redoubt.errors import AlreadyExists, NotFound, StorageError, StorageUnsupported, UsageError
from redoubt.sealed.local import LocalFile, LocalStorage
from redoubt.sealed.storage import Entry, RandomAccess, Storage, read_whole

_PRECONDITION_FAILED = {"PreconditionFailed", "412"}
#: Another upload of the same name was under way; it may fail yet, so S3 asks to try again.
_CONFLICT = {"ConditionalRequestConflict", "409"}
_CONFLICT_ATTEMPTS = 5
_CONFLICT_PAUSE_SECONDS = 0.2


def storage_for(location: str) -> Storage:
    """Return the storage of a path or URI such as ``data/``, ``file:///data`` or ``s3://bucket/prefix``.

    S3 URIs take pyarrow's options, e.g. ``?endpoint_override=127.0.0.1:5000&scheme=http&region=eu-west-1``.

    Raises:
        StorageUnsupported: pyarrow is not installed or does not know the scheme.
        UsageError: the URI holds credentials, or is malformed.
    """
    local = local_path(location)
    if local is not None:
        return LocalStorage(local)
    parts = urlsplit(location)
    if parts.username or parts.password:
        raise UsageError(
            f"a {parts.scheme} location must not hold credentials",
            hint="Use the store's environment variables or profile.",
        )
    return ObjectStorage(location)


def local_path(location: str) -> Path | None:
    """Return the path that *location* names, as such or as ``file:`` URI; None if it is another URI."""
    if location.startswith("file:"):
        return Path(unquote(urlsplit(location).path))
    return Path(location) if "://" not in location else None


def is_folder(location: str) -> bool:
    """Tell whether *location* names a folder (or an object store's prefix) rather than one file.

    Raises:
        NotFound: it names nothing.
    """
    file = open_object(location)
    if file is not None:
        file.close()
    return file is None


def open_object(location: str) -> RandomAccess | None:
    """Open *location* if it names one file or object; return None if it names a folder.

    Raises:
        NotFound: it names nothing.
    """
    path = local_path(location)
    if path is not None:
        return None if path.is_dir() else LocalFile(path)
    folder, query = location.partition("?")[::2]
    parent, _, name = folder.rstrip("/").rpartition("/")
    try:
        return storage_for(parent + ("?" + query if query else "")).open(name)
    except NotFound:
        if next(storage_for(location).list(), None) is None:
            raise
        return None


@contextlib.contextmanager
def _store_errors(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"{where} does not exist") from None
    except (OSError, ValueError, NotImplementedError) as error:
        first_line = str(error).partition("\n")[0]
        raise StorageError(f"{where}: {first_line or type(error).__name__}") from error


class ObjectFile:
    """An object open for positional reads."""

    def __init__(self, file: Any, where: str) -> None:
        self._file = file
        self._where = where
        self.size: int = file.size()

    def read_into(self, offset: int, out: memoryview) -> int:
        """See :class:`redoubt.sealed.storage.RandomAccess`."""
        done = 0
        with _store_errors(self._where):
            while done < len(out):
                data = self._file.read_at(len(out) - done, offset + done)
                if not data:
                    break
                out[done : done + len(data)] = data
                done += len(data)
        return done

    def close(self) -> None:
        """Close the object."""
        self._file.close()


class _ObjectSink:
    def __init__(self, filesystem: Any, path: str) -> None:
        self._filesystem = filesystem
        self._path = path
        with _store_errors(path):
            self._stream = filesystem.open_output_stream(path)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with _store_errors(self._path):
            self._stream.write(data)

    def finish(self) -> None:
        with _store_errors(self._path):
            self._stream.close()

    def abort(self) -> None:
        # pyarrow completes an upload when its stream is closed; what was written is then deleted.
        with contextlib.suppress(Exception):
            self._stream.close()
            self._filesystem.delete_file(self._path)


class ObjectStorage:
    """A prefix of an object store."""

    def __init__(self, location: str) -> None:
        try:
            from pyarrow import fs
        except ImportError:
            raise StorageUnsupported(f"{location} needs pyarrow, which is not installed") from None
        self._fs = fs
        self.location = location.rstrip("/")
        try:
            self._filesystem, root = fs.FileSystem.from_uri(location)
        except (OSError, ValueError, NotImplementedError):  # the message may quote the URI
            raise StorageUnsupported(f"pyarrow does not know the store of {location}") from None
        self._root = root.rstrip("/")
        self._s3 = _s3_client(location) if urlsplit(location).scheme == "s3" else None
        self.conditional = self._s3 is not None

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def open(self, name: str) -> ObjectFile:
        """See :class:`redoubt.sealed.storage.Storage`; so for all that follow."""
        path = self._path(name)
        with _store_errors(path):
            return ObjectFile(self._filesystem.open_input_file(path), path)

    def create(self, name: str) -> _ObjectSink:
        """Start an upload; an existing object of that name is refused before it."""
        self._refuse_existing(self._path(name))
        return _ObjectSink(self._filesystem, self._path(name))

    def put_if_absent(self, name: str, data: bytes) -> None:
        """Upload with ``If-None-Match: *`` on S3; look, then upload, elsewhere."""
        path = self._path(name)
        if self._s3 is None:
            self._refuse_existing(path)
            with _store_errors(path), self._filesystem.open_output_stream(path) as stream:
                stream.write(data)
            return
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, key = path.partition("/")
        for attempt in range(1, _CONFLICT_ATTEMPTS + 1):
            try:
                self._s3.put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
            except ClientError as error:
                code = error.response.get("Error", {}).get("Code")
                if code in _PRECONDITION_FAILED:
                    raise AlreadyExists(f"{path} exists") from None
                if code not in _CONFLICT or attempt == _CONFLICT_ATTEMPTS:
                    raise StorageError(f"{path}: {error}") from error
                time.sleep(_CONFLICT_PAUSE_SECONDS * attempt)
            except BotoCoreError as error:
                raise StorageError(f"{path}: {error}") from error
            else:
                return

    def read(self, name: str, *, limit: int) -> bytes:
        """Read a small object."""
        return read_whole(self.open(name), limit=limit, where=self._path(name))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """List the prefix recursively."""
        start = self._path(prefix)
        with _store_errors(start):
            infos = self._filesystem.get_file_info(self._fs.FileSelector(start, recursive=True, allow_not_found=True))
        for info in infos:
            if info.type == self._fs.FileType.File:
                modified = info.mtime.timestamp() if info.mtime is not None else 0.0
                yield Entry(info.path[len(self._root) + 1 :], info.size, modified)

    def size(self, name: str) -> int:
        """Ask for the object's length."""
        path = self._path(name)
        with _store_errors(path):
            info = self._filesystem.get_file_info(path)
        if info.type != self._fs.FileType.File:
            raise NotFound(f"{path} does not exist")
        return int(info.size)

    def delete(self, name: str) -> None:
        """Delete the object."""
        with _store_errors(self._path(name)), contextlib.suppress(FileNotFoundError):
            self._filesystem.delete_file(self._path(name))

    def _refuse_existing(self, path: str) -> None:
        with _store_errors(path):
            if self._filesystem.get_file_info(path).type != self._fs.FileType.NotFound:
                raise AlreadyExists(f"{path} exists")


def _s3_client(location: str) -> Any:
    try:
        import boto3
    except ImportError:
        raise StorageUnsupported(f"{location} needs boto3, which is not installed") from None
    query = {key: values[-1] for key, values in parse_qs(urlsplit(location).query).items()}
    endpoint = query.get("endpoint_override")
    url = f"{query.get('scheme', 'https')}://{endpoint}" if endpoint else None
    return boto3.client("s3", endpoint_url=url, region_name=query.get("region"))
