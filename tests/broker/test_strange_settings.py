"""Settings that are TOML and no settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.broker.world import ALICE, public

from redoubt.broker.config import new_config, parse_config
from redoubt.broker.server import Address
from redoubt.errors import BrokerConfigInvalid


@pytest.mark.parametrize("port", ["65536", "9" * 5000, "-1", "٣", ""])
def test_port_that_is_none_is_refused(port: str) -> None:
    """Of thousands of digits Python makes no number, and says so with an error of its own."""
    config = new_config(name="broker", listen=Address("127.0.0.1", 8443), bootstrap_owners=(public(ALICE),))
    assert parse_config(config, folder=Path("/x")).listen == Address("127.0.0.1", 8443)
    with pytest.raises(BrokerConfigInvalid):
        parse_config(config.replace(b":8443", f":{port}".encode()), folder=Path("/x"))
