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


def rows(text: str) -> str:
    """Keep the lines, in any order."""
    return "\n".join(sorted(exact(text).splitlines()))


def numbers(text: str) -> str:
    """Keep the words, in their order."""
    text = re.sub(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?", "N", exact(text))
    return re.sub(r"\[ ", "[", re.sub(r"[ -]+", " ", text))  # columns are as wide as their numbers


def words(text: str) -> str:
    """Keep which words there are."""
    return " ".join(sorted(set(re.findall(r"[A-Za-z]{3,}", exact(text)))))


def length(text: str) -> str:
    """Keep only that something was printed."""
    return "something" if text.strip() else ""


_COMPARED: Final = (
    (exact, "all"),
    (rows, "all, in any order"),
    (numbers, "all but numbers"),
    (words, "which words"),
    (length, "that it prints"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One example that runs here."""

    name: str
    arguments: tuple[str, ...] = ()
    normalise: Normalise = exact
    #: Why its output is not compared byte for byte.
    reason: str = ""
    #: Run as a command of its own, not in a batch.
    alone: bool = False

    @property
    def compared(self) -> str:
        """What of its output is compared."""
        return next(name for normalise, name in _COMPARED if normalise is self.normalise)

    @property
    def path(self) -> Path:
        return FOLDER / self.name


_NETWORK = "reads from a network socket until it is interrupted"
_FOREVER = "waits for new files until it is interrupted"
SKIPPED: Final = {
    "avro_inputformat.py": "needs the jars of Spark's examples and of Avro, which are not in the pip package",
    "parquet_inputformat.py": "needs the jar of Spark's examples, which is not in the pip package",
    "ml/cross_validator.py": "fails under plain spark-submit too: a vector of the wrong length",
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
    "mllib/gaussian_mixture_model.py": ("data/mllib/kmeans_data.txt", "2"),
    "mllib/kmeans.py": ("data/mllib/kmeans_data.txt", "2"),
    "mllib/logistic_regression.py": ("points.txt", "3"),
    "mllib/word2vec.py": ("places.txt",),
}
#: Programs of every kind: RDDs, SQL, ML, streaming, UDFs, files, arguments.
_ALONE: Final = frozenset(
    {
        "als.py",
        "kmeans.py",
        "pagerank.py",
        "pi.py",
        "sort.py",
        "transitive_closure.py",
        "wordcount.py",
        "ml/dataframe_example.py",
        "ml/kmeans_example.py",
        "ml/logistic_regression_with_elastic_net.py",
        "ml/pipeline_example.py",
        "mllib/correlations_example.py",
        "mllib/recommendation_example.py",
        "sql/arrow.py",
        "sql/basic.py",
        "sql/datasource.py",
        "sql/udtf.py",
        "streaming/queue_stream.py",
    }
)
_UNSEEDED: Final = "its random numbers have no seed"
_SPLIT: Final = "it splits its data at random, without a seed"
_UNORDERED: Final = "it shows the result of a join, whose rows come in any order"
_POLLS: Final = "it polls the state of a running job, as often as the machine lets it"
_TIMES: Final = "it prints the times of its batches"
#: Example → what of its output is compared, and why not all of it.
_LOOSE: Final[dict[str, tuple[Normalise, str]]] = {
    "logistic_regression.py": (words, _UNSEEDED),
    "pi.py": (numbers, _UNSEEDED),
    "sql/arrow.py": (numbers, _UNSEEDED),
    "ml/bucketed_random_projection_lsh_example.py": (rows, _UNORDERED),
    "ml/min_hash_lsh_example.py": (rows, _UNORDERED),
    "status_api_demo.py": (length, _POLLS),
    "mllib/gaussian_mixture_example.py": (words, _UNSEEDED),
    "mllib/ranking_metrics_example.py": (numbers, _UNSEEDED),
    "mllib/recommendation_example.py": (numbers, _UNSEEDED),
    "mllib/gaussian_mixture_model.py": (words, _UNSEEDED),
    "mllib/k_means_example.py": (words, _UNSEEDED),
    "mllib/kmeans.py": (words, _UNSEEDED),
    "mllib/latent_dirichlet_allocation_example.py": (words, _UNSEEDED),
    "mllib/power_iteration_clustering_example.py": (words, _UNSEEDED),
    "mllib/random_rdd_generation.py": (numbers, _UNSEEDED),
    "mllib/sampled_rdds.py": (words, _UNSEEDED),
    "mllib/streaming_k_means_example.py": (words, _TIMES),
    "mllib/svd_example.py": (numbers, "the sign of singular vectors is free"),
    "mllib/word2vec.py": (words, _UNSEEDED),
    "mllib/word2vec_example.py": (words, _UNSEEDED),
    "streaming/queue_stream.py": (words, _TIMES),
    **dict.fromkeys(
        (
            "ml/als_example.py",
            "ml/decision_tree_classification_example.py",
            "ml/decision_tree_regression_example.py",
            "ml/fm_classifier_example.py",
            "ml/fm_regressor_example.py",
            "ml/gradient_boosted_tree_classifier_example.py",
            "ml/gradient_boosted_tree_regressor_example.py",
            "ml/one_vs_rest_example.py",
            "ml/random_forest_classifier_example.py",
            "ml/random_forest_regressor_example.py",
            "mllib/decision_tree_classification_example.py",
            "mllib/decision_tree_regression_example.py",
            "mllib/gradient_boosting_classification_example.py",
            "mllib/gradient_boosting_regression_example.py",
            "mllib/naive_bayes_example.py",
            "mllib/random_forest_classification_example.py",
            "mllib/random_forest_regression_example.py",
        ),
        (words, _SPLIT),
    ),
}


def _examples() -> tuple[Example, ...]:
    found = []
    for path in sorted(FOLDER.rglob("*.py")):
        name = path.relative_to(FOLDER).as_posix()
        if path.name == "__init__.py" or name in SKIPPED:
            continue
        normalise, reason = _LOOSE.get(name, (exact, ""))
        found.append(
            Example(
                name=name,
                arguments=_ARGUMENTS.get(name, ()),
                normalise=normalise,
                reason=reason,
                alone=name in _ALONE,
            )
        )
    return tuple(found)


EXAMPLES: Final = _examples()
