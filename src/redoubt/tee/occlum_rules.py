"""What an ``Occlum.json`` must say beyond the types of its keys.

1. The root is one union of two layers: the image, whose content is measured, below; and above it what is written, which
   Occlum encrypts with a key of the enclave's own.
2. No target is mounted twice. A folder of the host (``hostfs``: sealed data, which Redoubt authenticates) hides nothing
   of the image that a program is made of.
3. The one entry point is a folder of ours (the schema says so): Occlum takes a program's arguments from the host, so
   with an interpreter as entry point the host would choose what runs under the same MRENCLAVE.
4. Sizes exist, a variable is named once, and temporary files lie in the enclave.
"""

from __future__ import annotations

import os.path
from collections.abc import Mapping, Sequence
from typing import Any, Final

from redoubt.errors import TeeInconsistent, TeeInsecure, TeeMountDuplicate, TeeValueInvalid
from redoubt.limits import MAX_ENCLAVE_BYTES, MAX_KERNEL_HEAP_BYTES
from redoubt.tee.amount import MIB, parse_amount

_LEAST_SPACE: Final = 128 * MIB
_LAYERS: Final = ("./build/mount/__ROOT", "./run/mount/__ROOT")
#: Where programs, libraries and settings lie; nothing of the host's may stand there.
_SYSTEM: Final = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/redoubt", "/root", "/run", "/sbin",
    "/sys", "/tmp", "/usr", "/var",  # noqa: S108 - of the enclave
)  # fmt: skip
_TEMPORARY: Final = ("HOME", "TMPDIR")


def check_occlum(manifest: Mapping[str, Any]) -> None:
    """Check an ``Occlum.json`` whose types are right.

    Raises:
        TeeManifestInvalid: a rule is broken; the text begins with the key.
    """
    _check_sizes(manifest)
    hosts = _check_mounts(manifest["mount"])
    _check_environment(manifest["env"]["default"], hosts)


def _check_sizes(manifest: Mapping[str, Any]) -> None:
    limits = manifest["resource_limits"]
    space = _size(limits, "resource_limits", "user_space_size")
    if not _LEAST_SPACE <= space <= MAX_ENCLAVE_BYTES:
        raise TeeValueInvalid("resource_limits.user_space_size: is not between 128MB and 512GB")
    if _size(limits, "resource_limits", "kernel_space_heap_size") > MAX_KERNEL_HEAP_BYTES:
        raise TeeValueInvalid("resource_limits.kernel_space_heap_size: is larger than 64GB")
    _size(limits, "resource_limits", "kernel_space_stack_size")
    for name in manifest["process"]:
        if _size(manifest["process"], "process", name) > space:
            raise TeeInconsistent(f"process.{name}: is larger than resource_limits.user_space_size")


def _size(table: Mapping[str, str], above: str, name: str) -> int:
    return parse_amount(table[name], name=f"{above}.{name}")


def _check_mounts(mounts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Check the mounts, and return the targets that are the host's."""
    seen: set[str] = set()
    hosts = []
    for place, mount in enumerate(mounts):
        target = mount["target"]
        if target in seen:
            raise TeeMountDuplicate(f"mount[{place}].target: {target} is mounted twice")
        seen.add(target)
        if (mount["type"] == "unionfs") != (target == "/"):
            raise TeeInsecure(f"mount[{place}].target: the root, and nothing else, is a unionfs")
        if mount["type"] == "unionfs":
            layers = mount["options"]["layers"]
            found = tuple(it["source"] for it in layers)
            if found != _LAYERS or any(it["target"] != "/" for it in layers):
                raise TeeInsecure(f"mount[{place}].options.layers: the image comes first, then what is written")
        if mount["type"] == "hostfs":
            if any(_inside(target, it) for it in _SYSTEM):
                raise TeeInsecure(f"mount[{place}].target: {target} would be the host's")
            if mount["source"] == "/":
                raise TeeInsecure(f"mount[{place}].source: is the host's whole file system")
            hosts.append(target)
    if "/" not in seen:
        raise TeeInconsistent("mount: there is no root")
    return hosts


def _check_environment(variables: Sequence[str], hosts: Sequence[str]) -> None:
    found: dict[str, tuple[int, str]] = {}
    for place, text in enumerate(variables):
        name, _, value = text.partition("=")
        if name in found:
            raise TeeValueInvalid(f"env.default[{place}]: {name} is named twice")
        found[name] = (place, value)
    for name in _TEMPORARY:
        if name not in found:
            raise TeeInconsistent(f"env.default: {name} is missing, so temporary files would go anywhere")
        place, folder = found[name]
        if os.path.normpath(folder) != folder or not folder.startswith("/"):
            raise TeeInconsistent(f"env.default[{place}]: {folder} is no whole path")
        if any(_inside(folder, it) for it in hosts):
            raise TeeInconsistent(f"env.default[{place}]: {folder} is a folder of the host's")


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
