"""``redoubt tee``: sizes of enclaves, and manifests of library operating systems, checked before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.files import read_file
from redoubt.cli.session import Session, command, group
from redoubt.errors import UsageError
from redoubt.tee.sizing import LibraryOs, Role

if TYPE_CHECKING:
    from redoubt.cli.output import Json
    from redoubt.tee.sizing import Sizes

app = group("Sizes of SGX enclaves, and checks of the manifests of Gramine and Occlum.")


@command(app, example="redoubt tee size --executor-memory 4g --cores 4 --library-os occlum")
def size(
    session: Session,
    *,
    driver_memory: Annotated[
        str | None,
        typer.Option(
            "--driver-memory",
            metavar="SIZE",
            envvar=["SGX_DRIVER_JVM_MEM_SIZE", "DRIVER_MEMORY"],
            help="Heap of a Spark driver.",
        ),
    ] = None,
    executor_memory: Annotated[
        str | None,
        typer.Option(
            "--executor-memory", metavar="SIZE", envvar="SGX_EXECUTOR_JVM_MEM_SIZE", help="Heap of a Spark executor."
        ),
    ] = None,
    jvm_memory: Annotated[
        str | None, typer.Option("--jvm-memory", metavar="SIZE", help="Heap of another Java program.")
    ] = None,
    python_memory: Annotated[
        str | None, typer.Option("--python-memory", metavar="SIZE", help="What a Python program needs.")
    ] = None,
    library_os: Annotated[
        LibraryOs, typer.Option("--library-os", help="What carries the program.")
    ] = LibraryOs.GRAMINE,
    cores: Annotated[int, typer.Option("--cores", metavar="N", help="Cores that it uses.")] = 1,
    python_workers: Annotated[
        int, typer.Option("--python-workers", metavar="N", help="Python workers of PySpark.")
    ] = 0,
    enclave_size: Annotated[
        str | None,
        typer.Option(
            "--enclave-size", metavar="SIZE", envvar="SGX_MEM_SIZE", help="The enclave (default: what is needed)."
        ),
    ] = None,
    kernel_heap: Annotated[
        str | None,
        typer.Option("--kernel-heap", metavar="SIZE", envvar="SGX_KERNEL_HEAP", help="Heap of Occlum's kernel."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", envvar="SGX_THREAD", help="Threads that the enclave has room for."),
    ] = None,
    metaspace: Annotated[
        str, typer.Option("--metaspace", metavar="SIZE", envvar="META_SPACE", help="The JVM's metaspace.")
    ] = "512M",
    malloc_arenas: Annotated[
        int, typer.Option("--malloc-arenas", metavar="N", envvar="MALLOC_ARENA_MAX", help="Arenas of glibc's malloc.")
    ] = 1,
    epc: Annotated[
        str | None, typer.Option("--epc", metavar="SIZE", help="What the machine has for enclaves, if known.")
    ] = None,
) -> None:
    """Compute enclave, heap, kernel heap and threads that fit together, for one role; refuse what cannot work.

    Sizes need a unit: 512M, 4g, 25GB. The environment variables are those of BigDL PPML's instructions.
    """
    from redoubt.tee.amount import parse_amount
    from redoubt.tee.sizing import Asked, compute_sizes, read_memory

    given = {
        Role.DRIVER: ("--driver-memory", driver_memory),
        Role.EXECUTOR: ("--executor-memory", executor_memory),
        Role.JVM: ("--jvm-memory", jvm_memory),
        Role.PYTHON: ("--python-memory", python_memory),
    }
    chosen = [(role, name, text) for role, (name, text) in given.items() if text is not None]
    if len(chosen) != 1:
        names = ", ".join(name for name, _ in given.values())
        raise UsageError(f"give one of {names}: each role has an enclave of its own")
    ((role, name, text),) = chosen
    found = compute_sizes(
        Asked(
            role=role,
            library_os=library_os,
            memory=parse_amount(text, name=name),
            cores=cores,
            python_workers=python_workers,
            metaspace=parse_amount(metaspace, name="--metaspace"),
            malloc_arenas=malloc_arenas,
            enclave=read_memory(enclave_size, name="--enclave-size"),
            kernel_heap=read_memory(kernel_heap, name="--kernel-heap"),
            threads=threads,
            epc=read_memory(epc, name="--epc"),
        )
    )
    _print_sizes(session, found)


@command(app, example="redoubt tee validate instance/Occlum.json")
def validate(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A manifest of Gramine, or an Occlum.json.")],
) -> None:
    """Check a manifest: types, units, paths, mounts, nothing of the host's, no debugging. The wrong key is named.

    Exit status 3 if it is refused. Nothing is started, and no library OS is needed.
    """
    from redoubt.limits import MAX_TEE_MANIFEST_BYTES
    from redoubt.tee.validate import kind_of
    from redoubt.tee.validate import validate as check

    kind = kind_of(file.name)
    check(read_file(file, limit=MAX_TEE_MANIFEST_BYTES), kind=kind)
    session.output.result({"file": str(file), "kind": kind.value, "valid": True}, text=f"{file}: right, for {kind}")


def _print_sizes(session: Session, found: Sizes) -> None:
    from redoubt.tee.amount import gramine_size, occlum_size

    gramine = found.library_os is LibraryOs.GRAMINE
    keys = ("sgx.enclave_size", "sgx.max_threads") if gramine else ("user_space_size", "max_num_of_threads")
    rows = [
        (keys[0], (gramine_size if gramine else occlum_size)(found.enclave)),
        (keys[1], str(found.threads)),
        *([] if found.kernel_heap is None else [("kernel_space_heap_size", occlum_size(found.kernel_heap))]),
        ("MALLOC_ARENA_MAX", str(found.malloc_arenas)),
        ("JVM options", " ".join(found.jvm_options) or "none"),
        ("enclaves", str(found.enclaves)),
        ("EPC of all of them", occlum_size(found.epc)),
        *((f"of it {name}", occlum_size(part)) for name, part in found.parts.items()),
    ]
    data: dict[str, Json] = {
        "library_os": found.library_os.value,
        "enclave": found.enclave,
        "threads": found.threads,
        "kernel_heap": found.kernel_heap,
        "malloc_arenas": found.malloc_arenas,
        "jvm_options": list(found.jvm_options),
        "enclaves": found.enclaves,
        "epc": found.epc,
        "parts": dict(found.parts),
    }
    session.output.table(data, columns=("WHAT", "VALUE"), rows=rows)
