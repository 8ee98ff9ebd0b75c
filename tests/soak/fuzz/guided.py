"""One target under libFuzzer, with the same changes as its mutator: ``python -m tests.soak.fuzz.guided NAME FOLDER …``.

FOLDER becomes the corpus; what follows are libFuzzer's options. It never returns: libFuzzer ends the process.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from random import Random

import atheris


def main() -> None:
    name, corpus, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["redoubt"]):
        from tests.soak.fuzz import broker, evidence, legacy, pki, protocol, sealed, store, trust
    from tests.soak.fuzz.mutation import mutate

    (target,) = (
        it
        for room in (evidence, trust, sealed, protocol, broker, store, pki, legacy)
        for it in room.targets()
        if it.name == name
    )
    for sample in target.samples:
        Path(corpus, hashlib.sha256(sample).hexdigest()).write_bytes(sample)

    def run(data: bytes) -> None:
        try:
            target.run(data)
        except target.refusals:
            return

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        rng = Random(seed)
        if rng.random() < 0.3:
            return bytes(atheris.Mutate(data, max_size))
        try:
            return mutate(rng, bytes(data), target.samples, target.shape)[:max_size]
        except ValueError:  # an earlier change left no JSON to change
            return mutate(rng, target.samples[0], target.samples, target.shape)[:max_size]

    largest = 4 * max(map(len, target.samples))
    atheris.Setup([sys.argv[0], corpus, f"-max_len={largest}", *options], run, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
