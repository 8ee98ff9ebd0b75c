"""The Python examples inside the pyspark package: with which arguments each runs, what of its output differs in any two
runs, and which cannot run here, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyspark

FOLDER: Final = Path(pyspark.__file__).parent / "examples/src/main/python"

Normalise = Callable[[str], str]


def exact(text: str) -> str:
    """What every output differs in: unique ids of models, and names of temporary files."""
    text = re.sub(r"\b([A-Za-z]+)_[0-9a-f]{12,}\b", r"\1_UID", text)
    return re.sub(r"/[\w/.-]*/tmp\w{8}\b", "/TMP", text)


def numbers(text: str) -> str:
    """Keep the words, in their order."""
    text = re.sub(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", "N", exact(text))
    return re.sub(r"[ -]+", " ", text)  # columns are as wide as their numbers


def unordered(text: str) -> str:
    """Keep the lines, in any order."""
    return "\n".join(sorted(exact(text).splitlines()))


def length(text: str) -> str:
    """Keep only that something was printed."""
    return "something" if text.strip() else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example that runs here."""

    name: str
    arguments: tuple[str, ...] = ()
    normalise: Normalise = exact
    #: Why its output is not compared byte for byte.
    reason: str = ""

    @property
    def path(self) -> Path:
        return FOLDER / self.name


_NETWORK = "reads from a network socket until it is interrupted"
_FOREVER = "waits for new files until it is interrupted"
SKIPPED: Final = {
    "avro_inputformat.py": "needs the jars of Spark's examples and of Avro, which are not in the pip package",
    "parquet_inputformat.py": "needs the jar of Spark's examples, which is not in the pip package",
    "sql/hive.py": "needs a Hive metastore, which Redoubt refuses (H31)",
    "sql/jdbc.py": "needs a database and its driver",
    "sql/streaming/structured_kafka_wordcount.py": "needs Kafka and its connector",
    "sql/streaming/structured_network_wordcount.py": _NETWORK,
    "sql/streaming/structured_network_wordcount_session_window.py": _NETWORK,
    "sql/streaming/structured_network_wordcount_windowed.py": _NETWORK,
    "sql/streaming/structured_sessionization.py": _NETWORK,
    "streaming/hdfs_wordcount.py": _FOREVER,
    "streaming/network_wordcount.py": _NETWORK,
    "streaming/network_wordjoinsentiments.py": _NETWORK,
    "streaming/recoverable_network_wordcount.py": _NETWORK,
    "streaming/sql_network_wordcount.py": _NETWORK,
    "streaming/stateful_network_wordcount.py": _NETWORK,
    "mllib/streaming_linear_regression_example.py": _FOREVER,
}

_ARGUMENTS: Final = {
    "kmeans.py": ("data/mllib/kmeans_data.txt", "2", "0.1"),
    "logistic_regression.py": ("lr_data.txt", "3"),
    "pagerank.py": ("data/mllib/pagerank_data.txt", "3"),
    "sort.py": ("numbers.txt",),
    "wordcount.py": ("examples/src/main/resources/people.txt",),
    "mllib/kmeans.py": ("data/mllib/kmeans_data.txt", "2"),
    "mllib/logistic_regression.py": ("points.txt", "3"),
    "mllib/word2vec.py": ("words.txt",),
}
_UNSEEDED = "its random numbers have no seed"
_NUMBERS: Final = {
    "als.py": _UNSEEDED,
    "pi.py": _UNSEEDED,
    "logistic_regression.py": _UNSEEDED,
    "status_api_demo.py": "it polls the state of a running job",
}
_LENGTH: Final = {"status_api_demo.py": "it polls the state of a running job, as often as the machine lets it"}
_UNORDERED: Final[dict[str, str]] = {}


def _examples() -> tuple[Example, ...]:
    found = []
    for path in sorted(FOLDER.rglob("*.py")):
        name = path.relative_to(FOLDER).as_posix()
        if path.name == "__init__.py" or name in SKIPPED:
            continue
        normalise, reason = exact, ""
        for table, way in ((_NUMBERS, numbers), (_UNORDERED, unordered), (_LENGTH, length)):
            if name in table:
                normalise, reason = way, table[name]
        found.append(Example(name=name, arguments=_ARGUMENTS.get(name, ()), normalise=normalise, reason=reason))
    return tuple(found)


EXAMPLES: Final = _examples()
