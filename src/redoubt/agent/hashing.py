"""SHA-256 of many files at once, by processes that are forked off: half of the work of a start is this.

    with FileHashing(sizes) as hashing:      # path → size, which only balances the work
        …                                    # anything else, meanwhile
        digests = hashing.result()           # path → SHA-256

Processes, not threads: a file takes four calls that need the interpreter's lock, and whoever does something else
meanwhile would hold it. They are forked and not started anew, because a new process could be traced by any other of the
same user until it had protected itself (:func:`redoubt.agent.process.protect_agent`); a fork is born protected. Forked
processes only open, read and hash, and leave by ``os._exit``: they need no lock that another thread of the parent could
have held.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import struct
from collections.abc import Mapping, Sequence
from typing import Final, NoReturn, Self

from redoubt.errors import ProgramFailed
from redoubt.limits import IMAGE_HASH_PROCESSES

_BLOCK: Final = 256 * 1024  # stays in a core's cache between reading and hashing
#: A batch ends with the file that fills it: small ones by number, large ones by size.
_BATCH_FILES: Final = 64
_BATCH_BYTES: Final = 16 * 1024 * 1024
_NUMBER: Final = struct.Struct("=I")
_DIGEST_BYTES: Final = hashlib.sha256().digest_size
_FAILED: Final = 1


class FileHashing:
    """Files that are being hashed. Leaving the context ends the processes, whatever they have done."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        """Start hashing the files *sizes*; raises ProgramFailed if no process can be started."""
        self._batches = _batches(sizes)
        self._workers: list[tuple[int, int]] = []
        # Whoever is done takes the next number: equal shares would not end at one time on unequal cores.
        numbers, taken = os.pipe()
        try:
            for _ in range(max(1, min(len(os.sched_getaffinity(0)), IMAGE_HASH_PROCESSES, len(self._batches)))):
                self._workers.append(self._fork(numbers, taken))
        except OSError as error:
            self.close()
            os.close(taken)
            raise ProgramFailed(f"no process can be started to measure with: {error.strerror}") from None
        finally:
            os.close(numbers)
        # Numbers that do not fit into the pipe wait for a worker, which writes nothing before it has read the last.
        with os.fdopen(taken, "wb") as queue, contextlib.suppress(BrokenPipeError):
            for number in range(len(self._batches)):
                queue.write(_NUMBER.pack(number))

    def result(self) -> dict[str, bytes]:
        """Wait, and return path → digest.

        Raises:
            ProgramFailed: a file cannot be read.
        """
        digests: dict[str, bytes] = {}
        for pid, reading in self._workers:
            with os.fdopen(os.dup(reading), "rb") as answers:
                told = answers.read()
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            self._workers = [it for it in self._workers if it[0] != pid]
            os.close(reading)
            if status == _FAILED:
                raise ProgramFailed(os.fsdecode(told))
            if status != 0:
                raise ProgramFailed(f"measuring was interrupted: a process of it ended with {status}")
            digests.update(self._read(told))
        if len(digests) != sum(map(len, self._batches)):
            raise ProgramFailed("measuring was interrupted: not every file was hashed")
        return digests

    def close(self) -> None:
        """End the processes that still run. May be called twice."""
        while self._workers:
            pid, reading = self._workers.pop()
            os.close(reading)
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fork(self, numbers: int, taken: int) -> tuple[int, int]:
        reading, writing = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(reading)
            os.close(writing)
            raise
        if pid == 0:
            _work(self._batches, numbers, writing, unused=taken)
        os.close(writing)
        return pid, reading

    def _read(self, told: bytes) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        place = 0
        while place < len(told):
            (number,) = _NUMBER.unpack_from(told, place)
            place += _NUMBER.size
            for path in self._batches[number]:
                found[path] = told[place : place + _DIGEST_BYTES]
                place += _DIGEST_BYTES
        return found


def _batches(sizes: Mapping[str, int]) -> list[list[str]]:
    """Cut the files into batches, the largest files first: a large one that came last would be waited for."""
    found: list[list[str]] = []
    room = 0
    for path, size in sorted(sizes.items(), key=lambda it: it[1], reverse=True):
        if room <= 0 or len(found[-1]) == _BATCH_FILES:
            found.append([])
            room = _BATCH_BYTES
        found[-1].append(path)
        room -= size
    return found


def _work(batches: Sequence[Sequence[str]], numbers: int, writing: int, *, unused: int) -> NoReturn:
    """Hash batch after batch in a forked process, tell the digests, and end it."""
    status = _FAILED
    try:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.close(unused)  # it would keep the queue of numbers open
        buffer, told = bytearray(_BLOCK), bytearray()
        try:
            while number := os.read(numbers, _NUMBER.size):
                told += number
                for path in batches[_NUMBER.unpack(number)[0]]:
                    told += _hash(path, buffer)
            status = 0
        except OSError as error:
            told = bytearray(os.fsencode(f"{error.filename} of the image cannot be read: {error.strerror}"))
        _write(writing, told)
    finally:
        os._exit(status)


def _hash(path: str, buffer: bytearray) -> bytes:
    digest = hashlib.sha256()
    view = memoryview(buffer)
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while count := os.readv(descriptor, [buffer]):
            digest.update(view[:count])
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(descriptor)
    return digest.digest()


def _write(descriptor: int, content: bytearray) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
