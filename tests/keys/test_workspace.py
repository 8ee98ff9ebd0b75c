"""The workspace: made whole or not at all, private, strict about its configuration, and a KeySource."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.keys.provider_contract import facts

from redoubt.errors import (
    KeyError_,
    NamespaceUnmapped,
    RootKeyError,
    StorageError,
    UsageError,
    WorkspaceError,
    WorkspaceExists,
    WorkspaceMissing,
    WrapRefused,
)
from redoubt.keys import workspace as workspace_module
from redoubt.keys.config import NamespaceMapping, edit_config, new_config, parse_config
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeySource, KeyState
from redoubt.keys.rootkey import PassphraseSource
from redoubt.keys.types import WrapContext
from redoubt.keys.workspace import DEFAULT_KEY, Workspace
from redoubt.limits import MAX_CONFIG_BYTES, MAX_KEY_BATCH

KNOWN = {"local": frozenset({"path"}), "broker": frozenset({"url"})}


def context() -> WrapContext:
    return WrapContext(uuid4(), uuid4())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path / "w")


# --- init -------------------------------------------------------------------------------------------------------------
def test_init_makes_a_private_complete_workspace(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        workspace = Workspace.init(tmp_path / "new" / "w")
    finally:
        os.umask(before)
    state = tmp_path / "new" / "w" / ".redoubt"
    assert workspace.state_folder == state
    assert state.stat().st_mode & 0o777 == 0o700
    assert {"root.key", "keystore.sqlite", "config.toml", ".gitignore"} <= {file.name for file in state.iterdir()}
    assert {file.stat().st_mode & 0o777 for file in state.iterdir()} == {0o600}
    assert [entry.name for entry in state.parent.iterdir()] == [".redoubt"]
    assert [info.name for info in workspace.list_keys()] == [DEFAULT_KEY]
    source: KeySource = workspace
    key, wrapped = source.new_data_key(None, context())
    assert [facts(it) for it in Workspace.open(state.parent).unwrap([wrapped])] == [facts(key)]


def test_second_init_touches_nothing(workspace: Workspace) -> None:
    before = {file: file.read_bytes() for file in workspace.state_folder.iterdir()}
    with pytest.raises(WorkspaceExists):
        Workspace.init(workspace.folder)
    assert {file: file.read_bytes() for file in workspace.state_folder.iterdir()} == before
    assert [entry.name for entry in workspace.folder.iterdir()] == [".redoubt"]


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_init_replaces_nothing_that_is_there(tmp_path: Path, kind: str) -> None:
    target = tmp_path / ".redoubt"
    if kind == "file":
        target.write_text("mine")
    else:
        target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkspaceExists):
        Workspace.init(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [".redoubt"]


def test_of_many_inits_at_once_exactly_one_wins(tmp_path: Path) -> None:
    outcomes: list[type[BaseException] | None] = []

    def init() -> None:
        try:
            Workspace.init(tmp_path)
        except WorkspaceExists as error:
            outcomes.append(type(error))
        else:
            outcomes.append(None)

    threads = [threading.Thread(target=init) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes, key=str) == [WorkspaceExists] * 4 + [None]
    assert [entry.name for entry in tmp_path.iterdir()] == [".redoubt"]
    Workspace.open(tmp_path).new_data_key(None, context())


def test_failed_init_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(workspace_module, "sync_directory", full)
    with pytest.raises(StorageError, match="No space left"):
        Workspace.init(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_init_where_a_file_stands_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        Workspace.init(tmp_path / "file")


def test_killed_init_leaves_no_workspace_or_a_whole_one(tmp_path: Path) -> None:
    chance = random.Random(11)
    script = "import sys; from pathlib import Path; from redoubt.keys.workspace import Workspace; print(flush=True); "
    for number in range(6):
        folder = tmp_path / str(number)
        command = [sys.executable, "-c", script + "Workspace.init(Path(sys.argv[1]))", str(folder)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(chance.uniform(0, 0.06))
        worker.kill()
        worker.communicate()
        try:
            workspace = Workspace.open(folder)
        except WorkspaceMissing:
            workspace = Workspace.init(folder)
        workspace.new_data_key(None, context())


# --- passphrase -------------------------------------------------------------------------------------------------------
def passphrase(tmp_path: Path, text: str) -> PassphraseSource:
    file = tmp_path / f"pass-{text}"
    file.touch(mode=0o600)
    file.write_text(text + "\n")
    return PassphraseSource(file=file)


def test_workspace_with_a_passphrase_has_no_root_key_file(tmp_path: Path) -> None:
    right, wrong = passphrase(tmp_path, "right"), passphrase(tmp_path, "wrong")
    made = Workspace.init(tmp_path / "w", passphrase=right)
    assert not (made.state_folder / "root.key").exists()
    assert b"right" not in b"".join(file.read_bytes() for file in made.state_folder.iterdir())
    _, wrapped = made.new_data_key(None, context())
    assert len(Workspace.open(tmp_path / "w", passphrase=right).unwrap([wrapped])) == 1
    with pytest.raises(RootKeyError):
        Workspace.open(tmp_path / "w", passphrase=wrong).unwrap([wrapped])
    assert Workspace.open(tmp_path / "w").list_keys()[0].name == DEFAULT_KEY  # listing needs no passphrase


@pytest.mark.parametrize("damage", ["remove", "open", "replace", "link"])
def test_unusable_root_key_is_refused(workspace: Workspace, damage: str) -> None:
    root = workspace.state_folder / "root.key"
    if damage == "remove":
        root.unlink()
    elif damage == "open":
        root.chmod(0o644)
    elif damage == "replace":
        root.write_bytes(bytes(32))
    else:
        root.rename(root.with_name("moved"))
        root.symlink_to("moved")
    with pytest.raises(RootKeyError):
        Workspace.open(workspace.folder).new_data_key(None, context())


# --- find and open ----------------------------------------------------------------------------------------------------
def test_nearest_workspace_upwards_is_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    below = workspace.folder / "a" / "b"
    below.mkdir(parents=True)
    assert Workspace.find(below) == workspace.folder
    inner = Workspace.init(workspace.folder / "a")
    assert Workspace.find(below) == inner.folder
    monkeypatch.chdir(below)
    assert Workspace.open().folder == inner.folder
    assert Workspace.open(workspace.state_folder).folder == workspace.folder
    assert Workspace.find(Path("..")) == inner.folder
    assert Workspace.find(Path("../..")) == workspace.folder


def test_missing_workspace_is_named(tmp_path: Path) -> None:
    for call in (lambda: Workspace.find(tmp_path), lambda: Workspace.open(tmp_path)):
        with pytest.raises(WorkspaceMissing):
            call()


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o720])
def test_workspace_open_to_others_is_refused(workspace: Workspace, mode: int) -> None:
    workspace.state_folder.chmod(mode)
    with pytest.raises(WorkspaceError, match="open to other users"):
        Workspace.open(workspace.folder)


def test_workspace_planted_by_another_user_is_refused(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: workspace.folder.stat().st_uid + 1)
    with pytest.raises(WorkspaceError, match="belongs to user"):
        Workspace.open(workspace.folder)


def test_linked_workspace_or_configuration_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / ".redoubt").symlink_to(workspace.state_folder)
    with pytest.raises(WorkspaceError):
        Workspace.open(tmp_path / "other")
    config = workspace.state_folder / "config.toml"
    config.rename(tmp_path / "config.toml")
    with pytest.raises(WorkspaceError):
        Workspace.open(workspace.folder)
    config.symlink_to(tmp_path / "config.toml")
    with pytest.raises(WorkspaceError):
        Workspace.open(workspace.folder)


# --- key source -------------------------------------------------------------------------------------------------------
def test_names_resolve_through_the_default_key(workspace: Workspace) -> None:
    lake = KeyName.parse("key:main/lake.dev")
    assert workspace.resolve(None) == DEFAULT_KEY
    for text in ("lake", "lake.dev", "main/lake", "key:main/lake.dev"):
        assert workspace.resolve(text) == lake
    with pytest.raises(KeyError_):
        workspace.resolve("Lake!")
    with pytest.raises(NamespaceUnmapped):
        workspace.new_data_key("other/lake", context())


def test_unwrap_groups_by_provider_and_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Workspace.init(tmp_path / "here"), Workspace.init(tmp_path / "there")
    there.map_namespace("lake", "local")
    there.provider_for(KeyName.parse("key:lake/raw.dev")).create(KeyName.parse("key:lake/raw.dev"))
    here.map_namespace("lake", "local", there.folder)
    monkeypatch.setattr(workspace_module, "MAX_KEY_BATCH", 2)
    pairs = [here.new_data_key(("default", "lake/raw")[number % 3 == 1], context()) for number in range(9)]
    opened = here.unwrap([wrapped for _, wrapped in pairs])
    assert [facts(key) for key in opened] == [facts(key) for key, _ in pairs]
    assert [str(info.name) for info in here.list_keys()] == ["key:lake/raw.dev", "key:main/default.dev"]
    with pytest.raises(WrapRefused):
        here.unwrap([pairs[0][1], replace(pairs[1][1], ciphertext=bytes(60))])


def test_more_than_one_batch_is_unwrapped(workspace: Workspace) -> None:
    key, wrapped = workspace.new_data_key(None, context())
    opened = workspace.unwrap([wrapped] * (MAX_KEY_BATCH + 1))
    assert {it.secret for it in opened} == {key.secret}
    assert len(opened) == MAX_KEY_BATCH + 1


def test_mapping_a_namespace_to_another_keystore_rewrites_no_record(tmp_path: Path) -> None:
    owner, reader = Workspace.init(tmp_path / "owner"), Workspace.init(tmp_path / "reader")
    key, wrapped = owner.new_data_key(None, context())
    with pytest.raises(WrapRefused):
        reader.unwrap([wrapped])
    reader.map_namespace("main", "local", owner.folder)
    assert [facts(it) for it in reader.unwrap([wrapped])] == [facts(key)]
    assert [facts(it) for it in Workspace.open(reader.folder).unwrap([wrapped])] == [facts(key)]


def test_another_process_disabling_a_key_is_seen_at_once(workspace: Workspace) -> None:
    _, wrapped = workspace.new_data_key(None, context())
    Workspace.open(workspace.folder).provider_for(DEFAULT_KEY).set_state(DEFAULT_KEY, KeyState.DISABLED)
    with pytest.raises(KeyError_):
        workspace.unwrap([wrapped])


# --- configuration ----------------------------------------------------------------------------------------------------
def test_new_config_parses_to_what_it_says() -> None:
    config = parse_config(new_config(DEFAULT_KEY), providers=KNOWN)
    assert config.default_key == DEFAULT_KEY
    assert config.namespaces == {"main": NamespaceMapping("local")}


GOOD = 'format = 1\ndefault_key = "key:main/default.dev"\n[namespaces.main]\nprovider = "local"\n'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "format = 1",
        "not toml",
        "\ufeff" + GOOD,
        GOOD.replace("format = 1", "format = 2"),
        GOOD.replace("format = 1", "format = true"),
        GOOD.replace("format = 1", 'format = "1"'),
        GOOD.replace("format = 1\n", ""),
        GOOD.replace("format = 1", "format = 1\nextra = 1"),
        GOOD.replace("key:main/default.dev", "default"),
        GOOD.replace('default_key = "key:main/default.dev"', "default_key = 7"),
        GOOD.replace("local", "vault"),
        GOOD.replace('"local"', "1"),
        GOOD.replace('provider = "local"', ""),
        GOOD.replace("namespaces.main", "namespaces.Main"),
        GOOD.replace("namespaces.main", "other.main"),
        GOOD + 'url = "x"\n',
        GOOD + 'path = ""\n',
        GOOD + 'path = "\\u0000"\n',
        GOOD + "path = ['a']\n",
        'format = 1\ndefault_key = "key:main/default.dev"\nnamespaces = []\n',
        'format = 1\ndefault_key = "key:main/default.dev"\nnamespaces = {main = "local"}\n',
        "a = " + "[" * 100_000,
        "#" * (MAX_CONFIG_BYTES + 1),
    ],
)
def test_malformed_configuration_is_refused(text: str) -> None:
    with pytest.raises(WorkspaceError):
        parse_config(text.encode(), providers=KNOWN)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=80).map(lambda tail: GOOD.encode() + tail)))
def test_any_bytes_are_a_configuration_or_a_workspace_error(content: bytes) -> None:
    try:
        parse_config(content, providers=KNOWN)
    except WorkspaceError:
        return
    assert content.startswith(GOOD.encode())


def test_editing_keeps_comments_and_other_fields(workspace: Workspace) -> None:
    file = workspace.state_folder / "config.toml"
    file.write_text(
        "# top\n"
        + GOOD
        + 'path = "x" # where it was\n\n# of the lake team\n[namespaces.lake]\nprovider = "local"  # ours\n'
    )
    target = Workspace.init(workspace.folder / "target")
    Workspace.open(workspace.folder).map_namespace("lake", "local", target.folder)
    text = file.read_text()
    for kept in ("# top\n", "# where it was", "# of the lake team", "# ours"):
        assert kept in text
    assert file.stat().st_mode & 0o777 == 0o600
    config = Workspace.open(workspace.folder).config
    assert config.namespaces["lake"] == NamespaceMapping.of("local", path=str(target.folder))
    assert config.namespaces["main"] == NamespaceMapping.of("local", path="x")
    Workspace.open(workspace.folder).map_namespace("lake", "local")
    assert Workspace.open(workspace.folder).config.namespaces["lake"] == NamespaceMapping("local")


@given(
    st.sampled_from(["main", "lake", "a-b_c"]), st.sampled_from(["local", "broker"]), st.text(min_size=1, max_size=30)
)
def test_edited_configuration_says_what_was_asked(namespace: str, provider: str, value: str) -> None:
    mapping = NamespaceMapping.of(provider, **{"path" if provider == "local" else "url": value.replace("\0", "0")})
    edited = edit_config(GOOD.encode(), namespace=namespace, mapping=mapping)
    config = parse_config(edited, providers=KNOWN)
    assert config.namespaces[namespace] == mapping
    assert set(config.namespaces) == {"main", namespace}


@pytest.mark.parametrize(
    "layout",
    [
        'namespaces.main.provider = "local"\n',
        'namespaces = {main = {provider = "local"}}\n',
        '[namespaces]\nmain = {provider = "local", path = "x"}\n',
        '[namespaces]\nmain.provider = "local"\n',
        '[namespaces."main"]\nprovider = "local" # no line end',
        '[namespaces.a]\nprovider = "local"\n[namespaces.main]\nprovider = "local"\n\n# tail\n',
    ],
)
@pytest.mark.parametrize("namespace", ["main", "lake"])
def test_every_layout_of_the_file_can_be_edited(layout: str, namespace: str) -> None:
    text = f'format = 1\ndefault_key = "key:main/default.dev"\n{layout}'.encode()
    mapping = NamespaceMapping.of("local", path="/p")
    edited = edit_config(text, namespace=namespace, mapping=mapping)
    assert parse_config(edited, providers=KNOWN) == parse_config(text, providers=KNOWN).mapped(namespace, mapping)


def test_mapping_to_nothing_usable_changes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    before = (workspace.state_folder / "config.toml").read_bytes()
    with pytest.raises(WorkspaceMissing):
        workspace.map_namespace("lake", "local", tmp_path / "none")
    with pytest.raises(UsageError):
        workspace.map_namespace("lake", "vault")
    with pytest.raises(UsageError):
        workspace.map_namespace("lake", "local", tmp_path / "\udcff")
    with pytest.raises(KeyError_):
        workspace.map_namespace("La/ke", "local")
    assert (workspace.state_folder / "config.toml").read_bytes() == before


def test_two_edits_at_once_are_both_kept(workspace: Workspace) -> None:
    names = [f"n{number}" for number in range(6)]
    threads = [
        threading.Thread(target=Workspace.open(workspace.folder).map_namespace, args=(name, "local")) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Workspace.open(workspace.folder).config.namespaces) == {"main", *names}
