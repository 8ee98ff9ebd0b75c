"""Enclave, JVM heap, kernel heap and threads from what people say: ``--driver-memory``, cores, Python workers.

An enclave is laid out before it starts. Where the parts do not fit, the library OS fails after minutes, with a message
about something else; so what cannot work is refused here, and the largest part is named. The estimates below are
upper bounds of what HotSpot 17, CPython and the library OS reserve, not measurements in an enclave: there is none here.

Gramine gives every process an enclave of its own, all of the manifest's one size: the agent, the program, and each
Python worker. Occlum puts all processes into one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from redoubt.errors import SizeRefused
from redoubt.limits import (
    MAX_CORES,
    MAX_ENCLAVE_BYTES,
    MAX_ENCLAVE_THREADS,
    MAX_KERNEL_HEAP_BYTES,
    MAX_MALLOC_ARENAS,
    MAX_PYTHON_WORKERS,
)
from redoubt.tee.amount import MIB, jvm_size, occlum_size, parse_amount, power_of_two, round_up


class LibraryOs(StrEnum):
    """What carries a program in SGX."""

    GRAMINE = "gramine"
    OCCLUM = "occlum"


class Role(StrEnum):
    """What the enclave is for."""

    PYTHON = "python"
    JVM = "jvm"
    DRIVER = "driver"
    EXECUTOR = "executor"


#: Spark refuses less: one and a half times what it reserves (UnifiedMemoryManager).
_LEAST_SPARK_HEAP: Final = 450 * MIB
_LEAST_HEAP: Final = 64 * MIB
_LEAST_METASPACE: Final = 128 * MIB
_METASPACE: Final = 512 * MIB
#: HotSpot's own: compiled code (ReservedCodeCacheSize), the collector's tables, symbols, and its C heap.
_CODE_CACHE: Final = 240 * MIB
_JVM_NATIVE: Final = 192 * MIB
#: Direct buffers, as Spark's memoryOverhead counts them: a tenth of the heap, and never less than this.
_LEAST_OVERHEAD: Final = 384 * MIB
_THREAD_STACK: Final = 1 * MIB
_ARENA: Final = 64 * MIB  # HEAP_MAX_SIZE of glibc
_PYTHON_WORKER: Final = 512 * MIB
_AGENT: Final = 256 * MIB
#: Gramine's LibOS, its PAL and its four helper threads; the manifest with its digests stands in the enclave too.
_GRAMINE: Final = 128 * MIB
_KERNEL_HEAP: Final = 256 * MIB
#: Of Occlum's kernel heap and of its kernel stacks, for each thread.
_KERNEL_PER_THREAD: Final = 1 * MIB
_HELPER_THREADS: Final = 4
_JVM_THREADS: Final = 64
_THREADS_PER_CORE: Final = 16
_PYTHON_THREADS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a person says; None is for this module to choose."""

    role: Role
    library_os: LibraryOs = LibraryOs.GRAMINE
    #: The JVM's heap: ``--driver-memory`` or ``--executor-memory``. For a Python program what it needs itself.
    memory: int
    cores: int = 1
    python_workers: int = 0
    python_worker_memory: int = _PYTHON_WORKER
    metaspace: int = _METASPACE
    malloc_arenas: int = 1
    enclave: int | None = None
    kernel_heap: int | None = None
    threads: int | None = None
    #: What the machine has for enclaves, if that is known.
    epc: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Values that fit together. Every amount is in bytes."""

    library_os: LibraryOs
    heap: int
    metaspace: int
    direct: int
    #: Size of one enclave: a power of two in Gramine.
    enclave: int
    kernel_heap: int | None
    threads: int
    malloc_arenas: int
    #: Enclaves of the job on this machine, and what they take of its EPC together.
    enclaves: int
    #: What the enclave is made of, for people: name → bytes.
    parts: Mapping[str, int]

    @property
    def epc(self) -> int:
        """What all enclaves of this program take, with the kernel's part."""
        return self.enclaves * (self.enclave + (self.kernel_heap or 0))

    @property
    def jvm_options(self) -> tuple[str, ...]:
        """What makes a JVM keep to these sizes; none for a program without a JVM."""
        if not self.heap:
            return ()
        return (
            f"-Xmx{jvm_size(self.heap)}",
            f"-XX:MaxMetaspaceSize={jvm_size(self.metaspace)}",
            f"-XX:MaxDirectMemorySize={jvm_size(self.direct)}",
            f"-XX:ReservedCodeCacheSize={jvm_size(_CODE_CACHE)}",
        )


def compute_sizes(asked: Asked) -> Sizes:
    """Return sizes for what was *asked*.

    Raises:
        SizeRefused: no enclave can hold it, or what was asked contradicts itself.
    """
    _check_numbers(asked)
    threads = _threads(asked)
    parts = dict(_parts(asked))
    needed = sum(parts.values())
    gramine = asked.library_os is LibraryOs.GRAMINE
    enclave = asked.enclave or (power_of_two(needed) if gramine else round_up(needed, 64 * MIB))
    if gramine and enclave != power_of_two(enclave):
        raise SizeRefused(
            f"an enclave of {occlum_size(enclave)} is no power of two, which SGX wants",
            hint=f"Take {occlum_size(power_of_two(enclave))}.",
        )
    if needed > enclave:
        largest = max(parts, key=lambda it: parts[it])
        raise SizeRefused(
            f"{occlum_size(needed)} do not fit into an enclave of {occlum_size(enclave)}: "
            f"{largest} alone takes {occlum_size(parts[largest])}",
            hint=f"Take an enclave of at least {occlum_size(power_of_two(needed) if gramine else needed)}, "
            "or less memory, fewer threads or workers.",
        )
    found = Sizes(
        library_os=asked.library_os,
        heap=0 if asked.role is Role.PYTHON else asked.memory,
        metaspace=asked.metaspace,
        direct=_overhead(asked.memory),
        enclave=enclave,
        kernel_heap=None if gramine else _kernel_heap(asked),
        threads=threads,
        malloc_arenas=asked.malloc_arenas,
        enclaves=2 + asked.python_workers if gramine else 1,  # the agent, and the program
        parts=parts,
    )
    if found.enclave > MAX_ENCLAVE_BYTES:
        raise SizeRefused(f"an enclave of {occlum_size(enclave)} is larger than any machine's EPC")
    if asked.epc is not None and found.epc > asked.epc:
        raise SizeRefused(
            f"{found.enclaves} enclaves take {occlum_size(found.epc)}, and the machine has {occlum_size(asked.epc)} "
            "for enclaves: pages would be swapped to ordinary memory, which is hundreds of times slower",
            hint="Use less memory or fewer Python workers, or a machine with more EPC.",
        )
    return found


def _check_numbers(asked: Asked) -> None:
    for name, value, low, high in (
        ("cores", asked.cores, 1, MAX_CORES),
        ("Python workers", asked.python_workers, 0, MAX_PYTHON_WORKERS),
        ("malloc arenas", asked.malloc_arenas, 1, MAX_MALLOC_ARENAS),
    ):
        if not low <= value <= high:
            raise SizeRefused(f"{value} {name} are not between {low} and {high}")
    spark = asked.role in (Role.DRIVER, Role.EXECUTOR)
    least = _LEAST_SPARK_HEAP if spark else _LEAST_HEAP
    if asked.memory < least:
        who = "Spark refuses to start" if spark else "nothing starts"
        raise SizeRefused(f"{who} with {occlum_size(asked.memory)} of memory: the least is {occlum_size(least)}")
    if asked.role is not Role.PYTHON and asked.metaspace < _LEAST_METASPACE:
        raise SizeRefused(
            f"a metaspace of {occlum_size(asked.metaspace)} does not hold the classes of Spark: "
            f"the least is {occlum_size(_LEAST_METASPACE)}"
        )


def _threads(asked: Asked) -> int:
    """Return how many threads one enclave has room for."""
    occlum = asked.library_os is LibraryOs.OCCLUM
    needed = _started(asked) if occlum else _started_by_program(asked) + _HELPER_THREADS
    threads = power_of_two(needed) if asked.threads is None else asked.threads
    if threads < needed:
        raise SizeRefused(
            f"{threads} threads are too few: {needed} are started", hint=f"Take {power_of_two(needed)} threads."
        )
    if threads > MAX_ENCLAVE_THREADS:
        raise SizeRefused(f"{threads} threads are more than an enclave has room for: {MAX_ENCLAVE_THREADS}")
    return threads


def _started_by_program(asked: Asked) -> int:
    if asked.role is Role.PYTHON:
        return _PYTHON_THREADS + 2 * asked.cores
    return _JVM_THREADS + _THREADS_PER_CORE * asked.cores


def _started(asked: Asked) -> int:
    """Return the threads of all processes: the program, the agent and the workers."""
    return _started_by_program(asked) + (1 + asked.python_workers) * _PYTHON_THREADS


def _parts(asked: Asked) -> Iterator[tuple[str, int]]:
    """Yield what one enclave holds: in Gramine the program's process, in Occlum every process."""
    if asked.role is Role.PYTHON:
        yield "the program", asked.memory
    else:
        yield "the JVM's heap", asked.memory
        yield "metaspace", asked.metaspace
        yield "direct buffers", _overhead(asked.memory)
        yield "compiled code and HotSpot", _CODE_CACHE + _JVM_NATIVE
    # A thread that the limit allows but nobody starts has no stack: 1024 is what people write to be left alone.
    yield "thread stacks", _started_by_program(asked) * _THREAD_STACK
    yield "malloc arenas", asked.malloc_arenas * _ARENA
    if asked.library_os is LibraryOs.OCCLUM:
        yield "the agent", _AGENT
        if asked.python_workers:
            yield "Python workers", asked.python_workers * asked.python_worker_memory
    else:
        yield "Gramine", _GRAMINE


def _overhead(memory: int) -> int:
    return max(_LEAST_OVERHEAD, round_up(memory // 10, MIB))


def _kernel_heap(asked: Asked) -> int:
    needed = _KERNEL_HEAP + _started(asked) * _KERNEL_PER_THREAD
    if asked.kernel_heap is None:
        return round_up(needed, 64 * MIB)
    if asked.kernel_heap < needed:
        raise SizeRefused(
            f"a kernel heap of {occlum_size(asked.kernel_heap)} is too small for {_started(asked)} threads: "
            f"{occlum_size(needed)} are needed",
            hint=f"Take {occlum_size(round_up(needed, 64 * MIB))}, or fewer cores and workers.",
        )
    if asked.kernel_heap > MAX_KERNEL_HEAP_BYTES:
        raise SizeRefused(f"a kernel heap of {occlum_size(asked.kernel_heap)} would never be used")
    return asked.kernel_heap


def read_memory(text: str | None, *, name: str) -> int | None:
    """Return the bytes of an option that may be left out; raises SizeRefused."""
    return None if text is None else parse_amount(text, name=name)
