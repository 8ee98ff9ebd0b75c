"""``redoubt tee size`` and ``redoubt tee validate`` as people call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.tee.samples import gramine, occlum, written

from redoubt.cli.main import main
from redoubt.errors import ExitStatus
from redoubt.tee.validate import ManifestKind


def test_sizes_of_an_executor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tee", "size", "--executor-memory", "4g", "--cores", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["enclave"] == 8 * 1024**3
    assert found["jvm_options"][0] == "-Xmx4g"
    assert main(["tee", "size", "--executor-memory", "4g", "--library-os", "occlum"]) == 0
    assert "kernel_space_heap_size" in capsys.readouterr().out


def test_the_seeds_variables_are_read(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SGX_MEM_SIZE": "32GB", "SGX_THREAD": "1024", "SGX_DRIVER_JVM_MEM_SIZE": "1G"}.items():
        monkeypatch.setenv(name, value)
    assert main(["tee", "size", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["enclave"], found["threads"]) == (32 * 1024**3, 1024)
    monkeypatch.setenv("SGX_MEM_SIZE", "25GB")
    assert main(["tee", "size"]) == ExitStatus.USAGE
    assert "power of two" in capsys.readouterr().err


@pytest.mark.parametrize("roles", [[], ["--driver-memory", "1g", "--executor-memory", "1g"]])
def test_one_role_is_sized_at_a_time(roles: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tee", "size", *roles]) == ExitStatus.USAGE
    assert "each role has an enclave of its own" in capsys.readouterr().err


def test_a_debug_manifest_is_refused_by_its_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong = tmp_path / "job.manifest", tmp_path / "Occlum.json"
    right.write_bytes(written(gramine(), ManifestKind.GRAMINE))
    assert main(["tee", "validate", str(right)]) == 0
    tree = occlum()
    tree["metadata"]["debuggable"] = True
    wrong.write_bytes(written(tree, ManifestKind.OCCLUM))
    assert main(["tee", "validate", str(wrong), "--json"]) == ExitStatus.REFUSED
    error = json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert error["code"] == "tee.debug"
    assert error["what"].startswith("metadata.debuggable: ")
    assert main(["tee", "validate", str(tmp_path / "absent.manifest")]) == ExitStatus.USAGE
