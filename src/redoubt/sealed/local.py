"""Storage on a local (POSIX) file system, and atomic single files.

New objects are made with O_EXCL or appear by ``link``; contents and folders are fsynced. :class:`AtomicFile` writes a
single destination through an unnamed file (O_TMPFILE), so that a crash leaves nothing at all, plaintext least of all.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from redoubt.errors import AlreadyExists, NotFound, StorageError
from redoubt.sealed.nofollow import files_below, remove_below
from redoubt.sealed.storage import Entry, read_whole

#: Dirty data is flushed in the background at this interval, so that the final fsync has little left to do.
_FLUSH_BYTES = 32 * 1024 * 1024


@contextlib.contextmanager
def storage_errors(path: object) -> Iterator[None]:
    """Translate OSError into the storage family of errors, naming *path*."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except FileExistsError:
        raise AlreadyExists(f"{path} exists") from None
    except IsADirectoryError:
        raise StorageError(f"{path} is a folder, not a file") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """Make the entries of *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make *folder* and those above it that are missing, durably: each new entry is synced."""
    missing = [folder]
    while not missing[-1].exists() and missing[-1].parent != missing[-1]:
        missing.append(missing[-1].parent)
    for made in reversed(missing[:-1]):
        made.mkdir(exist_ok=True)
        sync_folder(made.parent)


class LocalFile:
    """A local file open for positional reads."""

    def __init__(self, path: Path) -> None:
        with storage_errors(path):
            # O_NONBLOCK: opening a named pipe in a file's place must not wait for its writer.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._descriptor)
            raise StorageError(f"{path} is not a regular file")
        self._path = path
        self.size = status.st_size

    def read_into(self, offset: int, out: memoryview) -> int:
        """See :class:`redoubt.sealed.storage.RandomAccess`."""
        done = 0
        with storage_errors(self._path):
            while done < len(out):
                count = os.preadv(self._descriptor, [out[done:]], offset + done)
                if count == 0:
                    break
                done += count
        return done

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Flusher:
    """Asks the kernel to write dirty pages from a background thread while the writer goes on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._wanted = threading.Semaphore(0)
        self._ended = False
        self._pending = 0
        self._thread: threading.Thread | None = None

    def wrote(self, count: int) -> None:
        self._pending += count
        if self._pending >= _FLUSH_BYTES:
            self._pending = 0
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="redoubt-flush", daemon=True)
                self._thread.start()
            self._wanted.release()

    def _run(self) -> None:
        while True:
            self._wanted.acquire()
            if self._ended:
                return
            with contextlib.suppress(OSError):  # the final fsync reports the error
                os.fdatasync(self._descriptor)

    def end(self) -> None:
        if self._thread is not None:
            self._ended = True
            self._wanted.release()
            self._thread.join()
            self._thread = None


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of *data* to *descriptor*."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _LocalSink:
    """A new local object, visible under its name while written: only commits make objects count."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with storage_errors(path):
            make_folder(path.parent)
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._flusher = _Flusher(self._descriptor)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        with storage_errors(self._path):
            write_all(self._descriptor, data)
        self._flusher.wrote(len(data))

    def finish(self) -> None:
        self._flusher.end()
        with storage_errors(self._path):
            os.fsync(self._descriptor)
            self._close()
            sync_folder(self._path.parent)

    def abort(self) -> None:
        self._flusher.end()
        self._close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _close(self) -> None:
        # Never twice: the number may be another file's by then.
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class AtomicFile:
    """A destination file that appears whole and durable, or not at all.

    With *replace* a finished file has a hidden name for the last instant, because Linux links over no existing name.
    Where the file system has no O_TMPFILE, a hidden 0600 name is used for the whole write. Every error removes it; a
    kill in between leaves it.
    """

    def __init__(self, path: Path, *, replace: bool, mode: int = 0o666) -> None:
        self.path = path
        self._replace = replace
        self._temporary = path.with_name(f".{path.name[:200]}.{secrets.token_hex(6)}.redoubt-tmp")
        self._named = False
        if not replace and path.exists():
            raise AlreadyExists(f"{path} exists")
        with storage_errors(path):
            make_folder(path.parent)
            try:
                self._descriptor = os.open(path.parent, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, mode)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT}:
                    raise
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                try:
                    self._descriptor = os.open(self._temporary, flags, 0o600)
                except FileNotFoundError:  # not that *path* should have existed
                    raise StorageError(f"{path} cannot be made: {path.parent} takes no files") from None
                self._named = True
        self._flusher = _Flusher(self._descriptor)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append *data*."""
        with storage_errors(self.path):
            write_all(self._descriptor, data)
        self._flusher.wrote(len(data))

    def finish(self) -> None:
        """Make the file durable and visible under its name; AlreadyExists if someone else made one meanwhile."""
        self._flusher.end()
        try:
            with storage_errors(self.path):
                os.fsync(self._descriptor)
                if not self._named:
                    target = self._temporary if self._replace else self.path
                    # A folder descriptor makes CPython call linkat(AT_SYMLINK_FOLLOW); link(2) would link the symlink.
                    os.link(f"/proc/self/fd/{self._descriptor}", target, src_dir_fd=0, follow_symlinks=True)
                    self._named = self._replace
                if self._replace:
                    self._temporary.replace(self.path)
                elif self._named:
                    os.link(self._temporary, self.path)
                    self._temporary.unlink()
                self._named = False
                sync_folder(self.path.parent)
        finally:
            self._discard()

    def abort(self) -> None:
        """Leave nothing behind."""
        self._flusher.end()
        self._discard()

    def _discard(self) -> None:
        descriptor, self._descriptor = (
            self._descriptor,
            -1,
        )  # never twice: the number may be another file's by then
        if descriptor >= 0:
            os.close(descriptor)
        if self._named:
            self._named = False
            with contextlib.suppress(OSError):
                self._temporary.unlink()


class LocalStorage:
    """A folder on a local file system."""

    conditional = True

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    @property
    def location(self) -> str:
        """The folder's path."""
        return str(self.root)

    def _path(self, name: str) -> Path:
        return self.root / name if name else self.root

    def open(self, name: str) -> LocalFile:
        """See :class:`redoubt.sealed.storage.Storage`; so for all that follow."""
        return LocalFile(self._path(name))

    def create(self, name: str) -> _LocalSink:
        """Start a new file with O_EXCL."""
        return _LocalSink(self._path(name))

    def put_if_absent(self, name: str, data: bytes) -> None:
        """Write an unnamed file, fsync it, and ``link`` it to its name: atomic, and refused if the name is taken."""
        file = AtomicFile(self._path(name), replace=False)
        try:
            file.write(data)
        except BaseException:
            file.abort()
            raise
        file.finish()

    def read(self, name: str, *, limit: int) -> bytes:
        """Read a small file."""
        return read_whole(self.open(name), limit=limit, where=str(self._path(name)))

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Walk the folder; symbolic links below the root are not followed."""
        with storage_errors(self._path(prefix)), contextlib.suppress(FileNotFoundError):
            for name, status in files_below(self.root, prefix):
                yield Entry(name, status.st_size, status.st_mtime)

    def size(self, name: str) -> int:
        """Stat the file."""
        with storage_errors(self._path(name)):
            return self._path(name).stat().st_size

    def delete(self, name: str) -> None:
        """Unlink the file, and folders that it leaves empty below the root; symbolic links are not followed."""
        with storage_errors(self._path(name)):
            remove_below(self.root, name)
