"""What a manifest of Gramine must say beyond the types of its keys.

1. The enclave's size is a power of two that exists.
2. No path is mounted twice, no file is trusted twice.
3. Every trusted file has its digest. Only Gramine's own runtime, which may be installed elsewhere, is a folder without.
4. What the host may change (`sgx.allowed_files`: sealed data, which Redoubt authenticates) is nothing that is trusted,
   and no encrypted mount lies in it.
5. The entry point is mounted and trusted.
6. Temporary files and HOME lie in the enclave's memory, or in an encrypted mount (hardening H9).
"""

from __future__ import annotations

import os.path
from collections.abc import Iterator, Mapping
from typing import Any, Final

from redoubt.errors import TeeInconsistent, TeeInsecure, TeeMountDuplicate, TeeUnmeasured, TeeValueInvalid
from redoubt.limits import MAX_ENCLAVE_BYTES
from redoubt.tee.amount import MIB, parse_amount, power_of_two

_LEAST_ENCLAVE: Final = 256 * MIB
_SCHEME: Final = "file:"
_PRIVATE: Final = ("tmpfs", "encrypted")
_TEMPORARY: Final = ("HOME", "TMPDIR")


def check_gramine(manifest: Mapping[str, Any]) -> None:
    """Check a manifest whose types are right.

    Raises:
        TeeManifestInvalid: a rule is broken; the text begins with the key.
    """
    _check_size(manifest["sgx"]["enclave_size"])
    mounts = _mounts(manifest["fs"]["mounts"])
    trusted = _trusted(manifest)
    _check_untrusted(manifest, trusted, mounts)
    _check_entrypoint(manifest["libos"]["entrypoint"], trusted, mounts)
    _check_temporary(manifest["loader"]["env"], mounts)


def _check_size(text: str) -> None:
    size = parse_amount(text, name="sgx.enclave_size")
    if size != power_of_two(size) or not _LEAST_ENCLAVE <= size <= MAX_ENCLAVE_BYTES:
        raise TeeValueInvalid(f"sgx.enclave_size: is {text!r}; it must be a power of two from 256M to 512G")


def _mounts(listed: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for place, mount in enumerate(listed):
        if mount["path"] in found:
            raise TeeMountDuplicate(f"fs.mounts[{place}].path: {mount['path']} is mounted twice")
        found[mount["path"]] = mount
    return found


def _trusted(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Return the trusted files as paths; folders end in ``/``."""
    runtime = os.path.dirname(_path(manifest["loader"]["entrypoint"]["uri"]))
    found: set[str] = set()
    for place, file in enumerate(manifest["sgx"]["trusted_files"]):
        key, path = f"sgx.trusted_files[{place}]", _path(file["uri"])
        if path in found:
            raise TeeInconsistent(f"{key}.uri: {path} is trusted twice")
        found.add(path)
        folder = path.endswith("/")
        if folder and "sha256" in file:
            raise TeeValueInvalid(f"{key}.sha256: a folder has no digest")
        if "sha256" not in file and not (folder and _inside(path.rstrip("/"), runtime)):
            raise TeeUnmeasured(f"{key}.sha256: {path} is trusted without a digest")
    return frozenset(found)


def _check_untrusted(
    manifest: Mapping[str, Any], trusted: frozenset[str], mounts: Mapping[str, Mapping[str, str]]
) -> None:
    encrypted = {path: _path(it["uri"]) for path, it in mounts.items() if it["type"] == "encrypted"}
    for place, uri in enumerate(manifest["sgx"].get("allowed_files", [])):
        folder = _path(uri).rstrip("/")
        for other in (*trusted, *encrypted.values()):
            if _overlap(folder, other.rstrip("/")):
                raise TeeInsecure(f"sgx.allowed_files[{place}]: the host may change {folder}, where {other} lies")
    for place, (path, mount) in enumerate(mounts.items()):
        if path in encrypted and any(_overlap(encrypted[path], it.rstrip("/")) for it in trusted):
            raise TeeInconsistent(f"fs.mounts[{place}].uri: {mount['uri']} is encrypted, and holds trusted files")


def _check_entrypoint(entrypoint: str, trusted: frozenset[str], mounts: Mapping[str, Mapping[str, str]]) -> None:
    covering = next((it for it in _upwards(entrypoint) if it in mounts), None)
    mount = mounts.get(covering or "", {})
    if covering is None or mount["type"] != "chroot":
        raise TeeInconsistent(f"libos.entrypoint: no mount of files of the host gives {entrypoint}")
    source = _path(mount["uri"]) + entrypoint.removeprefix(covering)
    if source not in trusted:
        raise TeeInconsistent(f"libos.entrypoint: {source} is no trusted file")


def _check_temporary(environment: Mapping[str, str], mounts: Mapping[str, Mapping[str, str]]) -> None:
    for name in _TEMPORARY:
        folder = environment.get(name)
        if folder is None:
            raise TeeInconsistent(f"loader.env.{name}: is missing, so temporary files would go anywhere")
        if os.path.normpath(folder) != folder:
            raise TeeInconsistent(f"loader.env.{name}: {folder} is not a path in its normal form")
        covering = next((it for it in _upwards(folder) if it in mounts), None)
        if covering is None or mounts[covering]["type"] not in _PRIVATE:
            raise TeeInconsistent(f"loader.env.{name}: {folder} is in no tmpfs and in no encrypted mount")


def _path(uri: str) -> str:
    return uri.removeprefix(_SCHEME)


def _upwards(path: str) -> Iterator[str]:
    """Yield *path* and the folders above it; a text that is no whole path has none."""
    while path.startswith("/"):
        yield path
        if path == "/":
            return
        path = os.path.dirname(path)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _overlap(one: str, other: str) -> bool:
    return _inside(one, other) or _inside(other, one)
