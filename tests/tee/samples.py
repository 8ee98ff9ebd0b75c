"""Manifests that are right, one of each kind, and what the tests change in them."""

from __future__ import annotations

import json
from typing import Any

import tomlkit

from redoubt.tee.validate import ManifestKind

_RUNTIME = "/usr/lib/x86_64-linux-gnu/gramine"


def gramine() -> dict[str, Any]:
    """A manifest with every kind of mount, and with the library OS's runtime as the one folder that has no digest."""
    return {
        "libos": {"entrypoint": "/usr/bin/python3.11"},
        "loader": {
            "entrypoint": {"uri": f"file:{_RUNTIME}/libsysdb.so"},
            "argv": ["/usr/bin/python3.11", "-m", "job"],
            "env": {"HOME": "/redoubt/scratch", "TMPDIR": "/redoubt/scratch", "LANG": "C.UTF-8"},
            "log_level": "error",
        },
        "sys": {"stack": {"size": "2M"}, "disallow_subprocesses": False},
        "fs": {
            "root": {"type": "tmpfs"},
            "start_dir": "/srv/job",
            "mounts": [
                {"path": "/lib", "type": "chroot", "uri": f"file:{_RUNTIME}/runtime/glibc"},
                {"path": "/usr/bin/python3.11", "type": "chroot", "uri": "file:/usr/bin/python3.11"},
                {"path": "/srv/job", "type": "chroot", "uri": "file:/srv/job"},
                {"path": "/srv/sealed", "type": "chroot", "uri": "file:/srv/sealed"},
                {
                    "path": "/redoubt/scratch",
                    "type": "encrypted",
                    "uri": "file:/var/lib/redoubt/scratch",
                    "key_name": "redoubt_scratch",
                },
                {"path": "/tmp", "type": "tmpfs"},
            ],
        },
        "sgx": {
            "debug": False,
            "remote_attestation": "dcap",
            "enclave_size": "4G",
            "max_threads": 64,
            "edmm_enable": False,
            "use_exinfo": True,
            "isvprodid": 1,
            "isvsvn": 1,
            "file_check_policy": "strict",
            "trusted_files": [
                {"uri": f"file:{_RUNTIME}/runtime/glibc/"},
                {"uri": "file:/usr/bin/python3.11", "sha256": "ab" * 32},
                {"uri": "file:/srv/job/job.py", "sha256": "cd" * 32},
            ],
            "allowed_files": ["file:/srv/sealed/"],
        },
    }


def occlum() -> dict[str, Any]:
    """An instance with sealed data of the host's."""
    return {
        "resource_limits": {
            "user_space_size": "8GB",
            "kernel_space_heap_size": "512MB",
            "kernel_space_stack_size": "1MB",
            "max_num_of_threads": 256,
        },
        "process": {"default_stack_size": "4MB", "default_heap_size": "32MB", "default_mmap_size": "100MB"},
        "entry_points": ["/redoubt/bin"],
        "env": {"default": ["OCCLUM=yes", "HOME=/tmp", "TMPDIR=/tmp"], "untrusted": []},
        "metadata": {
            "product_id": 1,
            "version_number": 1,
            "debuggable": False,
            "disable_log": True,
            "enable_kss": True,
            "family_id": "0",
            "ext_prod_id": "0",
        },
        "feature": {"amx": 0, "pkru": 0, "io_uring": 0, "enable_edmm": False, "enable_posix_shm": False},
        "mount": [
            {
                "target": "/",
                "type": "unionfs",
                "options": {
                    "layers": [
                        {"target": "/", "type": "sefs", "source": "./build/mount/__ROOT", "options": {"MAC": ""}},
                        {"target": "/", "type": "sefs", "source": "./run/mount/__ROOT"},
                    ]
                },
            },
            {"target": "/srv/sealed", "type": "hostfs", "source": "/srv/sealed"},
            {"target": "/tmp", "type": "ramfs"},
            {"target": "/proc", "type": "procfs"},
            {"target": "/dev", "type": "devfs"},
        ],
    }


def sample(kind: ManifestKind) -> dict[str, Any]:
    return gramine() if kind is ManifestKind.GRAMINE else occlum()


def written(tree: dict[str, Any], kind: ManifestKind) -> bytes:
    return (tomlkit.dumps(tree) if kind is ManifestKind.GRAMINE else json.dumps(tree)).encode()
