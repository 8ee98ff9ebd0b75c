"""``redoubt submit`` with Spark itself: an unmodified application has Redoubt's configuration, and cannot undo it."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from tests.examples.runner import Way, command

from redoubt.cli.main import main
from redoubt.errors import ExitStatus

pytestmark = pytest.mark.spark
SECRET = "hunter2-0451"
APPLICATION = Path(__file__).with_name("submitted.py")
JAVA = """
public class Main {
    public static void main(String[] words) {
        System.out.println(String.join(" ", words) + " " + System.getProperty("spark.network.crypto.enabled"));
        System.exit(4);
    }
}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path)]) == ExitStatus.OK
    (tmp_path / "helper.py").write_text("def double(number):\n    return 2 * number\n")
    (tmp_path / "data.txt").write_text("data")
    return tmp_path


def submit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "REDOUBT_WORKSPACE": str(folder)}
    # An empty list to preload is harmless, and still one that must not get through.
    environment |= {"JAVA_TOOL_OPTIONS": "-Devil=1", "LD_PRELOAD": ""}
    return subprocess.run(
        [*command(Way.REDOUBT), *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


def test_an_unmodified_application_is_secured_and_cannot_undo_it(folder: Path) -> None:
    options = ("--py-files", "helper.py", "--files", "data.txt", "--conf", f"spark.authenticate.secret={SECRET}")
    done = submit(folder, *options, str(APPLICATION), "a", "--b")
    assert done.returncode == 7, done.stderr
    seen = json.loads(done.stdout)  # stdout is the application's alone
    conf = seen["conf"]
    assert conf["spark.app.name"] == "unmodified"
    for key in ("spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled"):
        assert conf[key] == "true"
    assert conf["spark.network.crypto.cipher"] == "AES/GCM/NoPadding"
    assert seen["secret"] is None
    assert "[spark.option]" in seen["refused"]
    assert "spark.io.encryption.enabled=false" in seen["refused"]
    assert seen["doubled"] == [2, 4]
    assert seen["files"] == ["data", "data"]
    assert seen["sealed"]
    assert seen["arguments"] == ["a", "--b"]
    for environment in seen["environments"]:
        assert {"JAVA_TOOL_OPTIONS", "LD_PRELOAD"}.isdisjoint(environment)
    assert "not passed on to the program: JAVA_TOOL_OPTIONS, LD_PRELOAD" in done.stderr
    # Neither the secret that was typed nor the one that Spark made instead is anywhere to be listed.
    assert SECRET not in done.stderr
    with_secret = [it for it in seen["commands"] if any(SECRET in word for word in it)]
    assert all("redoubt.cli.main" in it for it in with_secret)
    assert not Path(seen["local"]).exists()  # scratch, removed at the end
    assert seen["local"].startswith(str(Path(os.environ.get("TMPDIR", "/tmp"))))


def test_a_jar_is_run_by_its_main_class_and_ends_with_its_own_status(folder: Path) -> None:
    (folder / "Main.java").write_text(JAVA)
    subprocess.run(["javac", "--release", "17", "-d", str(folder), str(folder / "Main.java")], check=True, timeout=120)
    with zipfile.ZipFile(folder / "app.jar", "w") as jar:
        jar.write(folder / "Main.class", "Main.class")
    done = submit(folder, "--class", "Main", "app.jar", "one", "--two")
    assert (done.returncode, done.stdout) == (4, "one --two true\n"), done.stderr
