"""The jar is reproducible, is not built twice, and says what is missing."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from redoubt.errors import JarMissing
from redoubt.spark import jar as spark_jar


def test_two_builds_are_the_same_bytes(jvm_build: ModuleType, tmp_path: Path) -> None:
    one, two = jvm_build.build(tmp_path / "one.jar"), jvm_build.build(tmp_path / "two.jar")
    assert one.read_bytes() == two.read_bytes()
    names = zipfile.ZipFile(one).namelist()
    assert names[0] == "META-INF/MANIFEST.MF"
    assert "META-INF/services/org.apache.hadoop.io.compress.CompressionCodec" in names
    assert not any(str(tmp_path).encode() in zipfile.ZipFile(one).read(name) for name in names)


def test_an_up_to_date_jar_is_kept_and_a_damaged_one_is_not(jvm_build: ModuleType, tmp_path: Path) -> None:
    jar = jvm_build.build(tmp_path / "a.jar")
    os.utime(jar, (1, 1))
    assert jvm_build.build(jar).stat().st_mtime == 1
    jar.write_bytes(b"damaged")
    assert jvm_build.build(jar).stat().st_size > 10_000


def test_a_missing_compiler_is_named(jvm_build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(jvm_build.BuildError, match="install a JDK"):
        jvm_build.build(tmp_path / "a.jar")
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_does_not_compile_leaves_no_jar(jvm_build: ModuleType, tmp_path: Path) -> None:
    source = tmp_path / "Broken.java"
    source.write_text("class Broken { int x = y; }")
    with pytest.raises(jvm_build.BuildError, match="cannot find symbol"):
        jvm_build.compile_java([source], tmp_path, class_path=[])


def test_a_missing_jar_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_jar, "_JAR", tmp_path / "redoubt-jvm.jar")
    with pytest.raises(JarMissing):
        spark_jar.jar_path()
    (tmp_path / "redoubt-jvm.jar").touch()
    assert spark_jar.jar_path() == tmp_path / "redoubt-jvm.jar"
