"""Mapped providers: settings from the command line to ``config.toml`` and back, the books beside it, and the probe."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from tests.keys.peers.softhsm import new_token
from tests.keys.provider_contract import facts

from redoubt.errors import KeystoreDamaged, ProviderSettingsInvalid, UsageError, WorkspaceError
from redoubt.keys.bookfile import open_books
from redoubt.keys.config import NamespaceMapping
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.registry import PROVIDERS
from redoubt.keys.types import WrapContext
from redoubt.keys.workspace import Workspace

GOOD = {
    "pkcs11": {"module": "/usr/lib/softhsm/libsofthsm2.so", "token": "t", "pin_file": "pin"},
    "vault": {"url": "https://vault.example", "token_file": "token"},
    "azure": {"url": "https://my.vault.azure.net"},
    "ehsm": {"url": "https://ehsm.example", "appid": "a", "apikey_file": "key"},
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.init(tmp_path)


@pytest.mark.parametrize("kind", GOOD)
def test_settings_survive_the_configuration_and_mapping_asks_no_service(workspace: Workspace, kind: str) -> None:
    workspace.map_namespace("other", kind, settings=GOOD[kind])
    again = Workspace.open(workspace.folder)
    assert again.config.namespaces["other"] == NamespaceMapping.of(kind, **GOOD[kind])
    assert [str(info.name) for info in again.list_keys()] == ["key:main/default.dev"]
    assert (workspace.state_folder / f"{kind}.sqlite").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", GOOD)
def test_missing_and_unknown_settings_are_refused(workspace: Workspace, kind: str) -> None:
    before = (workspace.state_folder / "config.toml").read_bytes()
    for name in PROVIDERS[kind].required:
        with pytest.raises(UsageError, match=name):
            workspace.map_namespace("other", kind, settings={k: v for k, v in GOOD[kind].items() if k != name})
    for extra in ({"pin": "1234"}, {"token_file": ""}, {"url": "\0"}):
        with pytest.raises(UsageError):
            workspace.map_namespace("other", kind, settings={**GOOD[kind], **extra})
    assert (workspace.state_folder / "config.toml").read_bytes() == before


def test_setting_removed_from_the_file_by_hand_is_named(workspace: Workspace) -> None:
    workspace.map_namespace("other", "vault", settings=GOOD["vault"])
    config = workspace.state_folder / "config.toml"
    config.write_text("\n".join(line for line in config.read_text().splitlines() if not line.startswith("url")))
    with pytest.raises(ProviderSettingsInvalid, match="url"):
        Workspace.open(workspace.folder).provider_for(KeyName.parse("key:other/a.dev"))


def test_only_azure_and_a_declared_hsm_may_hold_hardware_keys(workspace: Workspace) -> None:
    held = {}
    for kind, settings in GOOD.items():
        workspace.map_namespace(kind, kind, settings=settings)
        held[kind] = workspace.provider_for(KeyName(kind, "a", Assurance.DEV)).assurances
    workspace.map_namespace("hsm", "pkcs11", settings={**GOOD["pkcs11"], "assurance": "hw"})
    held["declared"] = workspace.provider_for(KeyName("hsm", "a", Assurance.DEV)).assurances
    both, dev = frozenset(Assurance), frozenset({Assurance.DEV})
    assert held == {"pkcs11": dev, "vault": dev, "azure": both, "ehsm": dev, "declared": both}


def test_keys_of_a_token_work_through_the_workspace(workspace: Workspace) -> None:
    token = new_token()
    pin = workspace.folder / "pin"
    pin.touch(mode=0o600)
    pin.write_text(token.pin)
    settings = {"module": str(token.module), "token": token.label, "pin_file": "pin"}
    workspace.map_namespace("hsm", "pkcs11", settings=settings)
    name = KeyName.parse("key:hsm/a.dev")
    workspace.provider_for(name).create(name)
    key, wrapped = workspace.new_data_key("hsm/a", WrapContext(uuid4(), uuid4()))
    again = Workspace.open(workspace.folder)
    assert [facts(it) for it in again.unwrap([wrapped])] == [facts(key)]
    assert token.label in again.probe("hsm")
    other = Workspace.init(workspace.folder / "other")
    other.map_namespace("hsm", "pkcs11", workspace.folder, settings={**settings, "pin_file": str(pin)})
    assert [facts(it) for it in other.unwrap([wrapped])] == [facts(key)]


# --- books ------------------------------------------------------------------------------------------------------------
def test_books_of_another_kind_are_refused(workspace: Workspace) -> None:
    open_books(workspace.state_folder, "vault")
    (workspace.state_folder / "vault.sqlite").rename(workspace.state_folder / "azure.sqlite")
    with pytest.raises(KeystoreDamaged):
        open_books(workspace.state_folder, "azure")


def test_keystore_in_the_place_of_books_is_refused(workspace: Workspace) -> None:
    (workspace.state_folder / "keystore.sqlite").rename(workspace.state_folder / "vault.sqlite")
    with pytest.raises(KeystoreDamaged):
        open_books(workspace.state_folder, "vault")


def test_books_open_to_others_are_refused(workspace: Workspace) -> None:
    open_books(workspace.state_folder, "vault")
    (workspace.state_folder / "vault.sqlite").chmod(0o640)
    with pytest.raises(WorkspaceError, match="open to other users"):
        open_books(workspace.state_folder, "vault")


def test_books_opened_at_once_are_the_same(workspace: Workspace) -> None:
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(open_books(workspace.state_folder, "vault").header.id))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert [it.name for it in workspace.state_folder.iterdir() if "vault" in it.name] == ["vault.sqlite"]
    with sqlite3.connect(workspace.state_folder / "vault.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
