"""``broker.toml``: what stands in it is meant, and what is not known is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.broker.world import ALICE, public

from redoubt.broker.config import new_config, parse_config, read_config
from redoubt.broker.production import check_no_development
from redoubt.broker.server import Address
from redoubt.errors import BrokerConfigInvalid, DevelopmentInstalled
from redoubt.limits import ROLE_CERTIFICATE_SECONDS

FOLDER = Path("/etc/redoubt")
TEXT = new_config(name="broker", listen=Address("127.0.0.1", 8443), bootstrap_owners=(public(ALICE),)).decode()
LINES = TEXT.splitlines(keepends=True)


def test_new_configuration_is_one() -> None:
    config = parse_config(TEXT.encode(), folder=FOLDER)
    assert (config.name, config.listen) == ("broker", Address("127.0.0.1", 8443))
    assert config.bootstrap_owners == {ALICE.public_key().public_bytes_raw()}
    assert (config.store, config.root_key.file) == (str(FOLDER / "store.sqlite"), FOLDER / "root.key")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('name = "broker"', 'name = "broker"\nsimulated = true'),
        ('name = "broker"', "name = 3"),
        ('name = "broker"', 'name = ""'),
        ("format = 1", "format = 2"),
        ("127.0.0.1:8443", "8443"),
        ("127.0.0.1:8443", "127.0.0.1:99999"),
        ("127.0.0.1:8443", "127.0.0.1:"),
        ("ed25519:", "rsa:"),
        ('file = "root.key"', 'file = "root.key"\npassphrase_file = "x"'),
        ('file = "root.key"', ""),
        ("[root_key]", "[root_keys]"),
        ('cache = "collateral"', 'pccs = "http://pccs.example"'),
        ('cache = "collateral"', "amd_certificates = [1]"),
        ('cache = "collateral"', "verify = false"),
        ("[collateral]", "[limits]\nburst = true\n[collateral]"),
        ("[collateral]", "[limits]\nrequests_per_second = 0\n[collateral]"),
        ("[collateral]", "[limits]\ncertificate_seconds = 9\n[collateral]"),
        ("[collateral]", "[limits]\ncertificate_seconds = 86401\n[collateral]"),
        ("[collateral]", "[limits]\ncertificate_seconds = 3600.0\n[collateral]"),
        ("format = 1", "format = "),
    ],
)
def test_other_settings_are_refused(old: str, new: str) -> None:
    assert old in TEXT
    with pytest.raises(BrokerConfigInvalid):
        parse_config(TEXT.replace(old, new, 1).encode(), folder=FOLDER)


def test_certificates_hold_a_day_or_as_long_as_is_set() -> None:
    changed = TEXT.replace("[collateral]", "[limits]\ncertificate_seconds = 3600\n[collateral]", 1)
    assert parse_config(TEXT.encode(), folder=FOLDER).certificate_seconds == ROLE_CERTIFICATE_SECONDS
    assert parse_config(changed.encode(), folder=FOLDER).certificate_seconds == 3600


@pytest.mark.parametrize("setting", ["name", "listen", "certificate", "key", "store"])
def test_no_setting_has_a_default_that_nobody_chose(setting: str) -> None:
    kept = "".join(line for line in LINES if not line.startswith(f"{setting} ="))
    with pytest.raises(BrokerConfigInvalid, match=setting):
        parse_config(kept.encode(), folder=FOLDER)


@pytest.mark.parametrize(
    ("text", "address"), [("[::1]:8443", Address("::1", 8443)), ("broker.example:0", Address("broker.example", 0))]
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_config(TEXT.replace("127.0.0.1:8443", text).encode(), folder=FOLDER).listen == address


@given(st.binary(max_size=200), st.integers(0, len(TEXT)))
def test_any_text_is_read_or_refused(garbage: bytes, at: int) -> None:
    raw = TEXT.encode()
    try:
        parse_config(raw[:at] + garbage + raw[at + len(garbage) :], folder=FOLDER)
    except BrokerConfigInvalid:
        return


def test_configuration_that_others_can_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "broker.toml"
    with pytest.raises(BrokerConfigInvalid, match="does not exist"):
        read_config(tmp_path)
    file.write_text(TEXT)
    file.chmod(0o666)
    with pytest.raises(BrokerConfigInvalid, match="open to other"):
        read_config(file)
    file.chmod(0o600)
    assert read_config(tmp_path) == read_config(file)


def test_production_does_not_start_beside_redoubt_dev() -> None:
    with pytest.raises(DevelopmentInstalled):
        check_no_development()
