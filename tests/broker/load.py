"""Brokers under load that are killed: what each had acknowledged must be in the store.

Run as a program it is one broker: it changes a store as fast as it can, and prints a line for each change *after* the
store has returned. SIGTERM ends it; any error of a change is an exit status. :class:`Brokers` starts several on one
store, kills one at a random moment, and checks every line that was printed against the store.
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from redoubt.broker.location import StoreLocation, parse_location
from redoubt.broker.ports import AuditRow, RegisteredHead
from redoubt.broker.root import FileRoot
from redoubt.broker.store import SqlStore
from redoubt.errors import RedoubtError
from redoubt.keys.names import KeyName
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.trust.audit_head import verify_log

#: Every broker uses this key, so that they get into each other's way; each also makes its own.
SHARED = KeyName.parse("key:main/shared.dev")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
ROW = AuditRow({"event": "register"}, NOW)


def work(store: SqlStore) -> Iterator[dict[str, object]]:
    """Change the store and yield what was acknowledged, in turns, for ever."""
    dataset, registered, number = uuid4(), None, 0
    while True:
        number += 1
        own = KeyName.parse(f"key:main/own-{uuid4().hex}.dev")
        store.provider.create(own)
        yield {"kind": "create", "name": str(own)}
        for name in (SHARED, own):
            key = DataKey(context=WrapContext(uuid4(), uuid4(), Purpose.DATA), secret=os.urandom(32))
            (record,) = store.provider.wrap(name, [key])
            yield {"kind": "wrap", "record": encoded(record.encode()), "secret": encoded(key.secret)}
        if number % 5 == 0:
            version = store.provider.rotate(SHARED).current.version
            yield {"kind": "rotate", "version": version}
        entry = store.audit.append({"id": str(uuid4())}, at=NOW)
        yield {"kind": "audit", "number": entry.number, "digest": entry.digest}
        content = os.urandom(100)
        store.resources.put(f"a/b/{dataset}", content)
        yield {"kind": "resource", "path": f"a/b/{dataset}", "content": encoded(content)}
        head = RegisteredHead(number=number, digest=f"sha256:{number:064x}")
        store.register.advance(dataset, previous=registered, head=head, row=ROW)
        registered = head
        yield {"kind": "register", "dataset": str(dataset), "number": number}


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decoded(text: object) -> bytes:
    return base64.b64decode(str(text))


def main(location: str, root_key: str) -> int:
    store = SqlStore.open(parse_location(location), source=FileRoot(Path(root_key)))
    ended = []
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    try:
        for line in work(store):
            os.write(1, json.dumps(line).encode() + b"\n")
            if ended:
                return 0
    except RedoubtError as error:
        print(error, file=sys.stderr)
    return 1


@dataclass
class Brokers:
    """Several brokers on one store."""

    location: StoreLocation
    text: str
    root_key: Path
    folder: Path
    seed: int
    acknowledged: list[dict[str, object]] = field(default_factory=list)
    kills: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        SqlStore.create(self.location, source=FileRoot(self.root_key)).provider.create(SHARED)

    def round(self, *, brokers: int, seconds: float) -> None:
        """Run *brokers*, kill the first of them at a random moment within *seconds*, end the others, and check."""
        outputs = [self.folder / f"{self.kills}-{place}.jsonl" for place in range(brokers)]
        processes = [self._start(output) for output in outputs]
        try:
            for output in outputs:
                _wait_for_a_line(output)
            time.sleep(self._random.uniform(0, seconds))
            processes[0].kill()
            processes[0].wait()
            survivors = [(output, output.stat().st_size) for output in outputs[1:]]
            for output, size in survivors:
                _wait_for_a_line(output, beyond=size)  # they go on
            for process in processes[1:]:
                process.send_signal(signal.SIGTERM)
            for process in processes[1:]:
                assert process.wait(60) == 0, "a broker that was not killed failed"
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    process.kill()
                process.wait()
        self.kills += 1
        for output in outputs:
            lines = output.read_bytes().split(b"\n")[:-1]  # the kill may have cut the last one
            self.acknowledged += map(json.loads, lines)
        self.check()

    def check(self) -> None:
        """Check that everything that was acknowledged is there."""
        store = SqlStore.open(self.location, source=FileRoot(self.root_key))
        try:
            self._check_keys(store)
            rows = {}
            start = 1
            while page := store.audit.entries(start=start):
                rows.update({row.number: row for row in page})
                start = page[-1].number + 1
            verify_log(rows.values(), head=None)
            for line in self._of("audit"):
                assert rows[int(str(line["number"]))].digest == line["digest"]
            for path in {str(line["path"]) for line in self._of("resource")}:
                assert len(store.resources.get(path)) == 100  # a later one that was not acknowledged may be there
            for line in self._of("register"):
                head = store.register.head(UUID(str(line["dataset"])))
                assert head is not None
                assert head.number >= int(str(line["number"]))
        finally:
            store.close()

    def _check_keys(self, store: SqlStore) -> None:
        names = {str(info.name) for info in store.provider.list()}
        assert {str(line["name"]) for line in self._of("create")} <= names
        versions = {it.version for it in store.provider.describe(SHARED).versions}
        rotated = [int(str(line["version"])) for line in self._of("rotate")]
        assert set(rotated) <= versions
        assert len(set(rotated)) == len(rotated), "two brokers were told of one version"
        wraps = self._of("wrap")
        for line in wraps:
            (key,) = store.provider.unwrap([WrappedKey.decode(decoded(line["record"]))])
            assert key.secret == decoded(line["secret"])
        counted = sum(version.references for info in store.provider.list() for version in info.versions)
        assert counted >= len(wraps)

    def _of(self, kind: str) -> list[dict[str, object]]:
        return [line for line in self.acknowledged if line["kind"] == kind]

    def _start(self, output: Path) -> subprocess.Popen[bytes]:
        with output.open("wb") as stdout:
            return subprocess.Popen(
                [sys.executable, __file__, self.text, str(self.root_key)], stdout=stdout, stderr=None
            )


def _wait_for_a_line(output: Path, *, beyond: int = 0) -> None:
    end = time.monotonic() + 60
    while output.stat().st_size <= beyond:
        assert time.monotonic() < end, "a broker does nothing"
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
