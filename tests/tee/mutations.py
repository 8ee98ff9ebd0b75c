"""Manifests with one thing wrong, each with the key that must be named and the error that must say it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.tee.samples import sample

from redoubt.errors import (
    TeeDebugOn,
    TeeInsecure,
    TeeKeyMissing,
    TeeKeyUnknown,
    TeeManifestInvalid,
    TeeMountDuplicate,
    TeePathInvalid,
    TeeValueInvalid,
)
from redoubt.tee.validate import ManifestKind, key_text

Path = tuple[str | int, ...]
_SIZES = ("_size", "enclave_size", "max_size")
#: A person may leave these out; nothing becomes unsafe by it.
_OPTIONAL = {
    "loader.env.LANG", "sgx.use_exinfo", "sgx.allowed_files", "mount[0].options.layers[0].options",
    "mount[0].options.layers[0].options.MAC",
}  # fmt: skip
_BAD_SIZES: tuple[Any, ...] = (
    "banana", "0M", "16", 1024, "3X", "-1G", "16 G", "1.5G", "16GiB", " 16G", "16G\n", "", "1e3M", True, ["4G"], "٤G",
)  # fmt: skip
_BAD_PATHS = ("x/y", "./x", "../x", "/a/../b", "/a/./b", "/a//b", "", "/a/..", "file:x", "file:/a/../b", "/a\0b", "~")


@dataclass(frozen=True)
class Mutant:
    """One wrong manifest."""

    what: str
    tree: dict[str, Any]
    key: str
    error: type[TeeManifestInvalid]


def mutant(kind: ManifestKind, chance: random.Random) -> Mutant:
    """Return one, of a sort that *chance* takes."""
    return chance.choice(_SORTS)(kind, chance)


def _nodes(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    yield path, tree
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, child in children:
        yield from _nodes(child, (*path, name))


def _at(tree: Any, path: Path) -> Any:
    for part in path:
        tree = tree[part]
    return tree


def _set(tree: Any, path: Path, value: Any) -> None:
    _at(tree, path[:-1])[path[-1]] = value


def _unknown_key(kind: ManifestKind, chance: random.Random) -> Mutant:
    tree = sample(kind)
    path = chance.choice([at for at, it in _nodes(tree) if isinstance(it, dict) and at != ("loader", "env")])
    name = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz_", k=chance.randint(1, 12))) + "_zz"
    _at(tree, path)[name] = chance.choice([True, 1, "x", [], {}])
    return Mutant("unknown key", tree, key_text([*path, name]), TeeKeyUnknown)


def _missing_key(kind: ManifestKind, chance: random.Random) -> Mutant:
    tree = sample(kind)
    places = [(*at, name) for at, it in _nodes(tree) if isinstance(it, dict) for name in it]
    path = chance.choice([at for at in places if key_text(at) not in _OPTIONAL])
    del _at(tree, path[:-1])[path[-1]]
    # What a rule beyond the schema misses has an error of its own.
    beyond = "env" in path or path[-1] == "sha256"
    return Mutant("missing key", tree, key_text(path), TeeManifestInvalid if beyond else TeeKeyMissing)


def _wrong_size(kind: ManifestKind, chance: random.Random) -> Mutant:
    tree = sample(kind)
    at = chance.choice([at for at, _ in _nodes(tree) if at and str(at[-1]).endswith(_SIZES)] + _stack(tree))
    bad = (*_BAD_SIZES, "3G", "5M", "2048G") if at == ("sgx", "enclave_size") else _BAD_SIZES
    _set(tree, at, chance.choice(bad))
    return Mutant("wrong size", tree, key_text(at), TeeValueInvalid)


def _stack(tree: dict[str, Any]) -> list[Path]:
    return [("sys", "stack", "size")] if "sys" in tree else []


def _bad_path(kind: ManifestKind, chance: random.Random) -> Mutant:
    tree = sample(kind)
    names = ("path", "uri", "start_dir", "entrypoint", "target", "source")
    at = chance.choice([at for at, it in _nodes(tree) if at and at[-1] in names and isinstance(it, str)])
    _set(tree, at, chance.choice(_BAD_PATHS))
    return Mutant("relative path", tree, key_text(at), TeePathInvalid)


def _duplicate_mount(kind: ManifestKind, chance: random.Random) -> Mutant:
    tree = sample(kind)
    mounts, above, name = (
        (tree["fs"]["mounts"], ("fs", "mounts"), "path")
        if kind is ManifestKind.GRAMINE
        else (tree["mount"], ("mount",), "target")
    )
    mounts.append(dict(chance.choice(mounts)))
    return Mutant("duplicate mount", tree, key_text([*above, len(mounts) - 1, name]), TeeMountDuplicate)


_DEBUG: dict[ManifestKind, list[tuple[Path, Any]]] = {
    ManifestKind.GRAMINE: [
        (("sgx", "debug"), True), (("sgx", "enable_stats"), True), (("sgx", "profile"), {"enable": "all"}),
        (("sgx", "debug"), "false"), (("sgx", "debug"), 0), (("sys", "debug__mock_syscalls"), []),
    ],
    ManifestKind.OCCLUM: [
        (("metadata", "debuggable"), True), (("metadata", "disable_log"), False), (("metadata", "debuggable"), 0),
    ],
}  # fmt: skip
_INSECURE: dict[ManifestKind, list[tuple[Path, Any]]] = {
    ManifestKind.GRAMINE: [
        (("loader", "insecure__use_cmdline_argv"), True), (("loader", "insecure__use_host_env"), True),
        (("loader", "insecure__disable_aslr"), True), (("loader", "env", "X"), {"passthrough": True}),
        (("loader", "argv_src_file"), "file:/a"), (("loader", "env_src_file"), "file:/a"),
        (("sgx", "file_check_policy"), "allow_all_but_log"), (("sgx", "remote_attestation"), "none"),
        (("sgx", "remote_attestation"), "epid"), (("fs", "insecure__keys"), {"default": "00" * 16}),
        (("fs", "root", "type"), "chroot"), (("sys", "insecure__allow_eventfd"), True),
        (("sgx", "insecure__rpc_thread_num"), 4), (("sgx", "allowed_files", 0), "file:/srv/"),
    ],
    ManifestKind.OCCLUM: [
        (("env", "untrusted"), ["PATH"]), (("entry_points",), ["/redoubt/bin", "/bin"]),
        (("entry_points", 0), "/bin"), (("entry_points", 0), "/usr/bin/python3"),
        (("mount", 1, "target"), "/usr/lib/python3"), (("mount", 1, "source"), "/"),
        (("mount", 0, "options", "layers", 0, "type"), "hostfs"),
    ],
}  # fmt: skip


def _debug(kind: ManifestKind, chance: random.Random) -> Mutant:
    return _changed("debug on", kind, chance.choice(_DEBUG[kind]), TeeDebugOn)


def _insecure(kind: ManifestKind, chance: random.Random) -> Mutant:
    return _changed("insecure", kind, chance.choice(_INSECURE[kind]), TeeInsecure)


def _changed(what: str, kind: ManifestKind, change: tuple[Path, Any], error: type[TeeManifestInvalid]) -> Mutant:
    tree, (at, value) = sample(kind), change
    _set(tree, at, value)
    return Mutant(what, tree, key_text(at), error)


def _wrong_type(kind: ManifestKind, chance: random.Random) -> Mutant:
    tree = sample(kind)
    at, value = chance.choice([(at, it) for at, it in _nodes(tree) if at and not isinstance(it, dict)])
    others: list[Any] = [it for it in ("text", 7, 2.0, True, [{"x": 1}], {"x": 1}) if type(it) is not type(value)]
    _set(tree, at, chance.choice(others))
    return Mutant("wrong type", tree, key_text(at), TeeManifestInvalid)


_SORTS: tuple[Callable[[ManifestKind, random.Random], Mutant], ...] = (
    _unknown_key, _missing_key, _wrong_size, _bad_path, _duplicate_mount, _debug, _insecure, _wrong_type,
)  # fmt: skip
