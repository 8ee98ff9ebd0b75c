"""``PPMLContext``: programs written for BigDL PPML run with their import line changed.

    from bigdl.ppml.ppml_context import *             # before
    from redoubt.compat.ppml_context import *         # now

Names, arguments and defaults are BigDL PPML's. Where the program was started by ``redoubt submit`` or a session runs,
it is used; else one is made, with the keys of the agent or of the nearest workspace.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from pyspark import RDD, SparkConf, SparkContext
from pyspark.sql import DataFrame, SparkSession

from redoubt.compat.conf import without_legacy
from redoubt.compat.crypto_mode import CryptoMode
from redoubt.compat.frames import EncryptedDataFrameReader, EncryptedDataFrameWriter, resolve
from redoubt.compat.migrate import Sources, check_all, seal_all
from redoubt.compat.primary_keys import DEFAULT, PrimaryKeys, make_key
from redoubt.errors import SparkError, UsageError
from redoubt.keys.workspace import Workspace
from redoubt.sealed.local import AtomicFile
from redoubt.sealed.transfer import seal_file
from redoubt.spark.application import keys_of, session

if TYPE_CHECKING:
    from redoubt.keys.names import KeyName

__all__ = [
    "CryptoMode",
    "EncryptedDataFrameReader",
    "EncryptedDataFrameWriter",
    "PPMLContext",
    "SparkConf",
    "SparkContext",
    "SparkSession",
    "generate_encrypted_file",
    "initPPMLContext",
    "init_keys",
    "timing",
]

P = ParamSpec("P")
T = TypeVar("T")
#: Service → what ``ppml_args`` must have for it, in any of the generations' names.
_NEEDED: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "SimpleKeyManagementService": (("app_id", "simple_app_id"), ("api_key", "simple_app_key")),
    "EHSMKeyManagementService": (("kms_server_ip",), ("kms_server_port",), ("app_id", "ehsm_app_id")),
    "AzureKeyManagementService": (("vault", "azure_vault"),),
    "BigDLKeyManagementService": (("kms_server_ip",), ("kms_server_port",), ("kms_user_name",)),
}
_MATERIAL = ("primary_key_material", "primary_key_path", "primary_key")
_DATA_KEY = ("data_key_path", "data_key")


class PPMLContext:
    """A Spark session with BigDL PPML's methods, on sealed data."""

    def __init__(
        self, app_name: str, ppml_args: Mapping[str, str] | None = None, spark_conf: SparkConf | None = None
    ) -> None:
        given = dict(spark_conf.getAll()) if spark_conf is not None else {}
        given |= _arguments(ppml_args or {})
        mine, notices = without_legacy(given)
        self._said: set[str] = set()
        self._scratch: str | None = None
        self.spark = _session(app_name, mine)
        started = dict(self.spark.sparkContext.getConf().getAll())
        self._keys = PrimaryKeys({**started, **given})
        for notice in notices:
            self.say_once(notice)

    # --- reading and writing ------------------------------------------------------------------------------------------
    def read(self, crypto_mode: CryptoMode | str, primary_key_name: str = "") -> EncryptedDataFrameReader:
        """Return a reader of data in this mode."""
        return EncryptedDataFrameReader(self, CryptoMode.parse(crypto_mode), primary_key_name)

    def write(
        self, dataframe: DataFrame, crypto_mode: CryptoMode | str, primary_key_name: str = ""
    ) -> EncryptedDataFrameWriter:
        """Return a writer of *dataframe*: sealed for every mode but plain text."""
        return EncryptedDataFrameWriter(self, dataframe, CryptoMode.parse(crypto_mode), primary_key_name)

    def textfile(
        self,
        path: str,
        min_partitions: int | None = None,
        crypto_mode: CryptoMode | str = "plain_text",
        primary_key_name: str = "",
    ) -> RDD[str]:
        """Return the lines of a file or folder."""
        place, _ = resolve(self, path, CryptoMode.parse(crypto_mode), primary_key_name)
        return self.spark.sparkContext.textFile(place, min_partitions)

    textFile = textfile  # noqa: N815 - the name in Scala

    def sql(self, sqlText: str) -> DataFrame:  # noqa: N803 - BigDL PPML's name
        """Return the result of a query."""
        return self.spark.sql(sqlText)

    def getSparkSession(self) -> SparkSession:  # noqa: N802 - BigDL PPML's name
        """Return the session."""
        return self.spark

    def load_keys(self, primary_key_path: str, data_key_path: str) -> PPMLContext:
        """Make these files the default key's."""
        self._keys.load(primary_key_path, data_key_path)
        return self

    loadKeys = load_keys  # noqa: N815 - the name in Scala

    # --- models of LightGBM -------------------------------------------------------------------------------------------
    def saveLightGBMModel(  # noqa: N802 - BigDL PPML's name
        self, lightgbm_model: Any, path: str, crypto_mode: CryptoMode | str = "plain_text", primary_key_name: str = ""
    ) -> None:
        """Write a model as text: sealed for every mode but plain text."""
        frame = self.spark.createDataFrame([(lightgbm_model.getNativeModel(),)], "value string")
        self.write(frame, crypto_mode, primary_key_name).option("lineSep", "\0").text(path)

    def loadLightGBMClassificationModel(  # noqa: N802 - BigDL PPML's name
        self, model_path: str, crypto_mode: CryptoMode | str = "plain_text", primary_key_name: str = ""
    ) -> Any:
        """Read a model; raises SparkError where SynapseML is not installed."""
        return self._load_model("LightGBMClassificationModel", model_path, crypto_mode, primary_key_name)

    def loadLightGBMRegressionModel(  # noqa: N802 - BigDL PPML's name
        self, model_path: str, crypto_mode: CryptoMode | str = "plain_text", primary_key_name: str = ""
    ) -> Any:
        """Read a model; raises SparkError where SynapseML is not installed."""
        return self._load_model("LightGBMRegressionModel", model_path, crypto_mode, primary_key_name)

    def loadLightGBMRankerModel(  # noqa: N802 - BigDL PPML's name
        self, model_path: str, crypto_mode: CryptoMode | str = "plain_text", primary_key_name: str = ""
    ) -> Any:
        """Read a model; raises SparkError where SynapseML is not installed."""
        return self._load_model("LightGBMRankerModel", model_path, crypto_mode, primary_key_name)

    def _load_model(self, kind: str, path: str, mode: CryptoMode | str, primary_key_name: str) -> Any:
        try:
            from synapse.ml import lightgbm  # type: ignore[import-not-found]
        except ImportError:
            raise SparkError(
                "LightGBM for Spark (SynapseML), which models are loaded with, is not installed",
                hint="`pip install synapseml`, and give its jars with --jars.",
            ) from None
        (row,) = self.read(mode, primary_key_name).option("wholetext", value=True).text(path).collect()
        return getattr(lightgbm, kind).loadNativeModelFromString(row[0])

    # --- what readers and writers ask for -----------------------------------------------------------------------------
    def sealed_copy(self, path: str, primary_key_name: str) -> str:
        """Seal the legacy files at *path* into private scratch, which ends with the process, and return where."""
        chosen = self._keys.choose(primary_key_name)
        if chosen is None:
            raise UsageError(
                f"{path} is not sealed, and the program names no primary key that opens legacy data",
                hint="Import it first: `redoubt import-ppml`; or read it as plain_text, if it is.",
            )
        legacy = chosen.legacy({})
        sources = Sources.of([Path(path.removeprefix("file://"))])
        for it in check_all(sources, legacy):
            for weakness in it.file.weaknesses:
                self.say_once(f"weak, {path}: {weakness}")
        self.say_once(f"{path} is in a layout of BigDL PPML: import it once with `redoubt import-ppml`, it is faster")
        if self._scratch is None:
            self._scratch = tempfile.mkdtemp(prefix="redoubt-legacy-")
            atexit.register(shutil.rmtree, self._scratch, ignore_errors=True)
        target = tempfile.mkdtemp(dir=self._scratch)
        key = chosen.key()
        seal_all(sources, target, legacy=legacy, keys=keys_of(self.spark), key=str(key) if key else None)
        return target

    def key_of(self, primary_key_name: str) -> KeyName | None:
        """Return the Redoubt key that a primary key's data is sealed under; None is the default."""
        return self._keys.seals_under(primary_key_name)

    def say_once(self, text: str) -> None:
        """Print *text* on stderr, once."""
        if text not in self._said:
            self._said.add(text)
            print(f"redoubt: {text}", file=sys.stderr)


def initPPMLContext(  # noqa: N802 - BigDL PPML's name
    first: str | SparkConf | SparkSession, second: str | Mapping[str, str] | None = None, third: Any = None
) -> PPMLContext:
    """Return a context, from what Scala's overloads take: a name, a SparkConf or a session, then name or settings."""
    settings = SparkConf(loadDefaults=False)
    if isinstance(first, SparkConf):
        settings.setAll(first.getAll())
    name = first if isinstance(first, str) else second if isinstance(second, str) else "PPML"
    for more in (second, third):
        if isinstance(more, Mapping):
            settings.setAll(list(more.items()))
    return PPMLContext(name, spark_conf=settings)


def init_keys(app_id: str, api_key: str, primary_key_path: str, data_key_path: str | None = None) -> None:
    """Write the name of the nearest workspace's default key to the paths. The ids are not used."""
    del app_id, api_key
    workspace = Workspace.open()
    files = [Path(it) for it in (primary_key_path, data_key_path) if it is not None]
    make_key(workspace, workspace.config.default_key, *files)


def generate_encrypted_file(
    kms: object, primary_key_path: str, data_key_path: str, input_path: str, output_path: str
) -> None:
    """Seal one file under the key that *primary_key_path* names, in the nearest workspace."""
    del kms, data_key_path
    keys = PrimaryKeys({f"spark.bigdl.primaryKey.{DEFAULT}.material": primary_key_path})
    key = keys.seals_under("")
    sink = AtomicFile(Path(output_path), replace=False)
    seal_file(Path(input_path), sink, keys=Workspace.open(), key=str(key) if key else None)


def timing(what: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Say on stderr how long each call of the function took."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def timed(*arguments: P.args, **words: P.kwargs) -> T:
            start = time.perf_counter()
            try:
                return function(*arguments, **words)
            finally:
                print(f"{what} time elapsed {time.perf_counter() - start:.3f} s", file=sys.stderr)

        return timed

    return decorate


def _session(app_name: str, conf: Mapping[str, str]) -> SparkSession:
    """Return the session that runs or that ``redoubt submit`` prepared, else a new one."""
    if SparkContext._active_spark_context is None and "PYSPARK_GATEWAY_PORT" not in os.environ:
        return session(app_name, conf=dict(conf))
    spark = SparkSession.builder.appName(app_name).getOrCreate()
    keys_of(spark)  # or it is none on sealed data
    return spark


def _arguments(ppml_args: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that ``ppml_args`` stand for."""
    if not ppml_args:
        return {}
    kind = ppml_args.get("kms_type", "SimpleKeyManagementService")
    if kind == "":
        raise UsageError(
            "a primary key in a program's arguments is known to whoever reads them",
            hint="Put it into a 0600 file, and import the data: `redoubt import-ppml --kms plainText`.",
        )
    if kind not in _NEEDED:
        raise UsageError("invalid KMS type.", hint=f"It is one of {', '.join(_NEEDED)}.")
    for names in _NEEDED[kind]:
        _argument(ppml_args, names)
    prefix = f"spark.bigdl.primaryKey.{DEFAULT}"
    data_key = next((ppml_args[it] for it in _DATA_KEY if it in ppml_args), None)
    if data_key is not None:
        return {
            "spark.bigdl.kms.type": kind,
            "spark.bigdl.kms.key.primary": _argument(ppml_args, _MATERIAL),
            "spark.bigdl.kms.key.data": data_key,
        }
    return {f"{prefix}.kms.type": kind, f"{prefix}.material": _argument(ppml_args, _MATERIAL)}


def _argument(ppml_args: Mapping[str, str], names: tuple[str, ...]) -> str:
    for name in names:
        if name in ppml_args:
            return ppml_args[name]
    raise UsageError(f"need argument {names[0]}")
