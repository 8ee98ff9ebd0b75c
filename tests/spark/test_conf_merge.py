"""A user's own settings: kept where they are as strong, raised or refused where they weaken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.agent.conf import properties
from redoubt.errors import OptionRefused, RedoubtError, UsageError
from redoubt.spark.conf import REDACTION, SEALED_CODEC, Compare
from redoubt.spark.conf_legacy import LEGACY, clean
from redoubt.spark.conf_merge import merge, seconds
from redoubt.spark.conf_program import GUARD, GUARDED, REFUSED, submit_settings
from redoubt.spark.properties import parse_properties
from redoubt.spark.submission import configuration

SETTINGS = submit_settings("local[2]")
EXACT = [it for it in SETTINGS if it.compare is Compare.EXACT]


# --- every setting ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("setting", EXACT, ids=lambda it: it.key)
def test_a_user_conf_that_weakens_a_setting_is_refused(setting) -> None:  # type: ignore[no-untyped-def]
    other = "false" if setting.value == "true" else "true" if setting.value == "false" else "other"
    with pytest.raises(OptionRefused, match=setting.key):
        merge(SETTINGS, {setting.key: other})
    assert merge(SETTINGS, {setting.key: setting.value})[setting.key] == setting.value
    assert merge(SETTINGS, {setting.key: other}, allow={setting.key})[setting.key] == other


@pytest.mark.parametrize(
    ("key", "given", "effective"),
    [
        ("spark.io.encryption.keySizeBits", "512", "512"),
        ("spark.network.crypto.keyLength", "256", "256"),
        ("spark.network.timeout", "600", "600"),
        ("spark.network.timeout", "5min", "5min"),
        ("spark.executor.heartbeatInterval", "20000", "20000"),
        ("spark.executor.heartbeatInterval", "20s", "20s"),
        ("spark.ui.enabled", "true", "true"),
        ("spark.driver.host", "10.0.0.1", "10.0.0.1"),
        ("spark.plugins", "org.example.Plugin", f"{GUARD},org.example.Plugin"),
        ("spark.hadoop.io.compression.codecs", "org.example.Codec", f"{SEALED_CODEC},org.example.Codec"),
        ("spark.redaction.regex", "pin", f"{REDACTION}|(?:pin)"),
        ("spark.executor.memory", "4g", "4g"),
        ("spark.driver.extraJavaOptions", "-Xss4m", "-Xss4m"),
    ],
)
def test_a_value_as_strong_is_kept(key: str, given: str, effective: str) -> None:
    assert merge(SETTINGS, {key: given})[key] == effective


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("spark.io.encryption.keySizeBits", "64"),
        ("spark.io.encryption.keySizeBits", "many"),
        ("spark.network.timeout", "2h"),
        ("spark.network.timeout", "1000000"),
        ("spark.network.timeout", "soon"),
        ("spark.executor.heartbeatInterval", "10000s"),
        ("spark.driver.defaultJavaOptions", "-Xss4m"),
        ("spark.driver.extraJavaOptions", "-Xss4m -XX:-DisableAttachMechanism"),
        ("spark.driver.extraJavaOptions", "-XX:+HeapDumpOnOutOfMemoryError"),
        ("spark.driver.extraJavaOptions", "-Djava.io.tmpdir=/tmp"),
        ("spark.executor.extraJavaOptions", "-XX:+FlightRecorder"),
    ],
)
def test_a_weaker_value_is_refused(key: str, given: str) -> None:
    with pytest.raises(OptionRefused):
        merge(SETTINGS, {key: given})


@pytest.mark.parametrize("refused", REFUSED, ids=lambda it: it.prefix)
def test_what_is_off_as_a_whole_cannot_be_turned_on(refused) -> None:  # type: ignore[no-untyped-def]
    key = refused.prefix if not refused.prefix.endswith(".") else f"{refused.prefix}x"
    with pytest.raises(OptionRefused, match=key):
        configuration({key: "true"})


def test_the_guard_watches_everything_that_has_one_value() -> None:
    watched = set(merge(SETTINGS, {})[GUARDED].split(","))
    assert {"spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled"} <= watched
    assert watched == {it.key for it in EXACT if it.key != GUARDED}


def test_every_setting_has_a_reason_and_one_place() -> None:
    assert len({it.key for it in SETTINGS}) == len(SETTINGS)
    assert all(it.reason for it in SETTINGS)
    assert all(bool(it.bound) == (it.compare in (Compare.SECONDS, Compare.MILLISECONDS)) for it in SETTINGS)


def test_durations_are_read_as_spark_reads_them() -> None:
    assert seconds("10000000", Compare.SECONDS) == 10_000_000
    assert seconds("10000000", Compare.MILLISECONDS) == 10_000
    assert seconds("2m", Compare.SECONDS) == seconds("120s", Compare.MILLISECONDS) == 120
    assert seconds("x", Compare.SECONDS) == float("inf")


# --- older instructions -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("key", "value", "effective"),
    [
        ("spark.authenticate.enableSaslEncryption", "true", None),
        ("spark.network.crypto.keyLength", "128", "256"),
        ("spark.network.crypto.keyFactoryAlgorithm", "PBKDF2WithHmacSHA1", None),
        ("spark.io.encryption.keySizeBits", "128", "256"),
        ("spark.io.encryption.keygen.algorithm", "HmacSHA1", "HmacSHA256"),
        ("spark.network.timeout", "10000000", "120s"),
        ("spark.network.timeout", "10000000s", "120s"),
        ("spark.executor.heartbeatInterval", "10000000", "10s"),
        ("spark.python.use.daemon", "false", "true"),
        ("spark.python.worker.reuse", "false", "true"),
        ("spark.ssl.enabled", "true", None),
        ("spark.ssl.port", "8043", None),
        ("spark.ssl.keyStoreType", "JKS", None),
    ],
)
def test_a_legacy_value_is_raised_with_one_warning(key: str, value: str, effective: str | None) -> None:
    made = configuration({key: value})
    assert made.conf.get(key) == effective
    (notice,) = made.notices
    assert key in notice


def test_every_legacy_setting_is_one_of_ours_or_gone() -> None:
    for legacy in LEGACY:
        value = {"true|false": "true", "[0-9]+": "8043", ".*": "x", "10{6,}(s|ms)?": "10000000"}
        given = value.get(legacy.values, legacy.values.split("|")[0])
        cleaned = clean({legacy.key: given})
        assert not cleaned.conf
        assert len(cleaned.notices) == 1


# --- secrets ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "key",
    [
        "spark.authenticate.secret",
        "spark.ssl.keyPassword",
        "spark.ssl.keyStorePassword",
        "spark.hadoop.fs.s3a.secret.key",
        "spark.hadoop.fs.s3a.access.key",
        "spark.hadoop.fs.azure.account.key.store.dfs.core.windows.net",
        "spark.bigdl.kms.simple.key",
        "spark.bigdl.primaryKey.AmyPK.plainText",
        "spark.bigdl.primaryKey.AmyPK.kms.apiKey",
        "spark.kubernetes.driver.secretKeyRef.SPARK_AUTHENTICATE_SECRET",
    ],
)
def test_a_secret_in_argv_is_ignored_and_never_echoed(key: str) -> None:
    made = configuration({key: "hunter2-0451"})
    assert "hunter2-0451" not in str(made)
    (notice,) = made.notices
    assert key in notice


def test_a_switch_is_no_secret() -> None:
    assert clean({"spark.security.credentials.hbase.enabled": "false"}).conf


def test_no_refusal_echoes_a_secret() -> None:
    with pytest.raises(RedoubtError) as refused:
        configuration({"spark.authenticate.secret": "hunter2-0451", "spark.io.encryption.enabled": "false"})
    assert "hunter2" not in refused.value.explain()


# --- files of settings ------------------------------------------------------------------------------------------------
_TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)


@given(conf=st.dictionaries(_TEXT.map(lambda it: f"spark.{it}"), _TEXT.map(str.strip), max_size=5))
def test_what_is_written_is_read_back(conf: dict[str, str]) -> None:
    assert parse_properties(properties(conf)) == conf


@given(content=st.binary(max_size=200) | st.text(alphabet="\\ut0:= \n\r#!ab", max_size=60).map(str.encode))
def test_any_file_of_settings_is_read_or_refused(content: bytes) -> None:
    try:
        found = parse_properties(content)
    except UsageError:
        return
    assert all(isinstance(value, str) for value in found.values())


def test_settings_are_read_as_java_reads_them() -> None:
    text = "# no\n ! no\nspark.a b c\nspark.b=1\\\n   2\nspark.c : x\\u00e9\\n\nspark.d\nspark\\:e==f\nspark.b=3\r\n"
    expected = {"spark.a": "b c", "spark.b": "3", "spark.c": "xé", "spark.d": "", "spark:e": "=f"}
    assert parse_properties(text.encode()) == expected
