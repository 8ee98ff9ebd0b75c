"""The table of BigDL PPML's configuration keys is complete, and says what is a secret."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from redoubt.compat.conf import CODEC, CONF_KEYS, Becomes, LegacyKey, find, without_legacy
from redoubt.spark.conf_legacy import clean, is_secret

SEEDS = Path(os.environ.get("REDOUBT_SHARED", Path(__file__).parents[3] / "shared"), "seeds")


def concrete(name: str) -> str:
    return name.replace("<NAME>", "AmyPK")


def test_every_key_of_the_seeds_is_in_the_table() -> None:
    if not SEEDS.is_dir():
        pytest.skip("the seeds are not in this checkout: REDOUBT_SHARED names where they are")
    texts = [it.read_text() for it in SEEDS.glob("*.txt")]
    found = {key for text in texts for key in re.findall(r"spark\.bigdl\.[A-Za-z.]+[A-Za-z]", text)}
    assert len(found) == 4
    assert all(find(key) is not None for key in found)


def test_names_are_unique_and_explained() -> None:
    assert len({it.name for it in CONF_KEYS}) == len(CONF_KEYS)
    assert all(it.to and it.reason for it in CONF_KEYS)


@pytest.mark.parametrize("entry", CONF_KEYS, ids=lambda it: it.name)
def test_submit_drops_exactly_the_secrets_of_the_table(entry: LegacyKey) -> None:
    key = concrete(entry.name)
    assert find(key) is entry
    assert is_secret(key, "hunter2-0451") == (entry.becomes is Becomes.REFUSED)
    cleaned = clean({key: "hunter2-0451"})
    assert (key in cleaned.conf) == (entry.becomes is not Becomes.REFUSED)
    assert "hunter2" not in "".join(cleaned.notices)


def test_a_programs_own_settings_stay_and_secrets_do_not() -> None:
    given = {
        "spark.executor.memory": "2g",
        "spark.bigdl.kms.type": "SimpleKeyManagementService",
        "spark.bigdl.kms.simple.key": "hunter2",
        "spark.bigdl.unheard.of": "x",
        "spark.hadoop.io.compression.codecs": CODEC,
    }
    kept, notices = without_legacy(given)
    assert kept == {"spark.executor.memory": "2g"}
    assert len(notices) == 2
    assert "hunter2" not in "".join(notices)
