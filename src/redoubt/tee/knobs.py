"""Every environment variable and SGX setting of BigDL PPML's instructions: accepted, mapped or refused, and why.

One table, from which the page about migration is made. *Accepted*: ``redoubt tee size`` reads the name itself, as the
default of an option. *Mapped*: something of Redoubt's does it, named in *use*. *Refused*: nothing does it, on purpose.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Verdict(StrEnum):
    """What becomes of a knob."""

    ACCEPTED = "accepted"
    MAPPED = "mapped"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Knob:
    """One name."""

    name: str
    verdict: Verdict
    #: What to use in Redoubt; of a refused one, what protects instead.
    use: str
    reason: str


_A, _M, _R = Verdict.ACCEPTED, Verdict.MAPPED, Verdict.REFUSED
_ENCLAVE: Final = (
    Knob("SGX_MEM_SIZE", _A, "`redoubt tee size --enclave-size`", "the size of the enclave"),
    Knob("SGX_MEMORY_SIZE", _M, "`--enclave-size`", "a misspelling of SGX_MEM_SIZE, which nothing ever read"),
    Knob("SGX_HEAP", _R, "`--enclave-size`", "no effect since Occlum 0.29: a process' heap grows in the user space"),
    Knob("SGX_KERNEL_HEAP", _A, "`redoubt tee size --kernel-heap`", "the heap of Occlum's kernel"),
    Knob("SGX_THREAD", _A, "`redoubt tee size --threads`", "how many threads the enclave has room for"),
    Knob("META_SPACE", _A, "`redoubt tee size --metaspace`", "the JVM's MaxMetaspaceSize"),
    Knob(
        "MALLOC_ARENA_MAX", _A, "`redoubt tee size --malloc-arenas`", "each arena takes 64 MB of the enclave; measured"
    ),
    Knob(
        "FS_TYPE", _R, "a `hostfs` mount of sealed data", "hostfs hands plaintext files to the host; sealed data only"
    ),
    Knob(
        "SGX_LOG_LEVEL",
        _M,
        "`loader.log_level`, `metadata.disable_log`",
        "none, error, warning; debug and trace print what runs",
    ),
    Knob("SGX_ENABLED", _M, "`redoubt run --tee`", "what a program is put into is one option"),
    Knob(
        "SGX_DRIVER_JVM_MEM_SIZE", _A, "`redoubt tee size --driver-memory`", "the driver's heap; Occlum's instructions"
    ),
    Knob("SGX_EXECUTOR_JVM_MEM_SIZE", _A, "`redoubt tee size --executor-memory`", "the executor's heap"),
    Knob("SGX_DRIVER_JVM_MEM", _M, "`redoubt tee size --driver-memory`", "the driver's heap; Graphene's instructions"),
    Knob("SGX_EXECUTOR_JVM_MEM", _M, "`redoubt tee size --executor-memory`", "the executor's heap"),
    Knob("SGX_DRIVER_MEM", _M, "`redoubt tee size --enclave-size`", "the enclave of the driver; a manifest each role"),
    Knob(
        "SGX_EXECUTOR_MEM", _M, "`redoubt tee size --enclave-size`", "the enclave of an executor; a manifest each role"
    ),
    Knob(
        "DRIVER_MEMORY",
        _A,
        "`redoubt tee size --driver-memory`",
        "the driver's heap, if SGX_DRIVER_JVM_MEM_SIZE is unset",
    ),
    Knob("ENCLAVE_KEY_PATH", _M, "`redoubt certs generate --enclave-key`", "the key that signs enclaves"),
    Knob("ENCLAVE_KEY", _M, "`redoubt certs generate --enclave-key`", "the same, of other instructions"),
    Knob(
        "TF_MKL_ALLOC_MAX_BYTES", _M, "`--env TF_MKL_ALLOC_MAX_BYTES=…`", "a setting of the program's; it is measured"
    ),
    Knob("SGX", _M, "`redoubt run --tee`", "Graphene's loader; without it the program ran unprotected"),
    Knob("OMP_NUM_THREADS", _M, "`--env OMP_NUM_THREADS=…`", "a setting of the program's; it is measured"),
)
_ATTESTATION: Final = (
    Knob("ATTESTATION", _R, "nothing: it is always on", "a program that could be run unattested would get no keys"),
    Knob("ATTESTATION_URL", _M, "`--broker URL --ca FILE`", "the broker judges evidence and releases keys in one step"),
    Knob(
        "PCCS_URL",
        _M,
        "`collateral.pccs` of the broker's `broker.toml`",
        "collateral is the verifier's, not the program's",
    ),
    Knob("PCCL_URL", _M, "`collateral.pccs` of the broker's `broker.toml`", "a misspelling of PCCS_URL"),
    Knob("PCCS_IP", _M, "`collateral.pccs` of the broker's `broker.toml`", "a part of PCCS_URL"),
    Knob("PCCS_PORT", _M, "`collateral.pccs` of the broker's `broker.toml`", "a part of PCCS_URL"),
    Knob("APP_ID", _R, "the owners' manifest", "an id names nobody: who may have keys is what the evidence proves"),
    Knob("API_KEY", _R, "the owners' manifest", "a key in an environment is read by whoever lists processes or pods"),
    Knob("CHALLENGE", _R, "nothing: the broker's nonce", "a challenge that is typed is the same every time"),
    Knob(
        "REPORT_DATA",
        _R,
        "nothing: nonce, key and program",
        "report data that a person chooses binds no key and no nonce",
    ),
    Knob("ESHM_IP", _M, "`--broker URL`", "a part of ATTESTATION_URL, misspelt"),
    Knob("EHSM_PORT", _M, "`--broker URL`", "a part of ATTESTATION_URL"),
)
_PATHS: Final = (
    Knob("DATA_PATH", _M, "`redoubt seal`", "data is sealed, so the host may hold it"),
    Knob("KEYS_PATH", _M, "`redoubt certs generate DIR`", "the folder of keys and certificates"),
    Knob(
        "SECURE_PASSWORD_PATH", _M, "`redoubt certs generate DIR --ppml`", "passwords stand in files that only you read"
    ),
    Knob(
        "secure_password",
        _R,
        "nothing: secrets are generated",
        "it stood in an environment, and in Spark's command line",
    ),
    Knob(
        "KUBECONFIG_PATH",
        _R,
        "kubectl outside of the TEE",
        "whoever administers the cluster must not be in the enclave",
    ),
    Knob("KUBECONFIG", _R, "kubectl outside of the TEE", "whoever administers the cluster must not be in the enclave"),
    Knob("kubernetes_master_url", _M, "`kubectl` and `redoubt cluster`", "the address of Kubernetes' API server"),
    Knob("K8S_MASTER", _M, "`kubectl` and `redoubt cluster`", "the address of Kubernetes' API server"),
    Knob("DOCKER_IMAGE", _M, "`redoubt agent measure`", "what is measured is files, not an image's name"),
    Knob("IMAGE", _M, "`redoubt agent measure`", "what is measured is files, not an image's name"),
    Knob("FS_PATH", _M, "arguments of the program", "the root of input and output in an object store"),
    Knob("INPUT_DIR", _M, "arguments of the program", "where the input lies; sealed"),
    Knob("OUTPUT_DIR", _M, "arguments of the program", "where the output goes; sealed"),
    Knob(
        "ENCRYPT_KEYS_PATH",
        _R,
        "`redoubt keys`",
        "keys have names and versions in a provider, no paths in Spark's conf",
    ),
    Knob("DATA_LAKE_NAME", _M, "arguments of the program", "an account of Azure's storage"),
    Knob(
        "DATA_LAKE_ACCESS_KEY",
        _R,
        "`--secret NAME=REPO/TYPE/TAG`",
        "a key in Spark's conf is shown in its UI and event log",
    ),
    Knob(
        "KEYVAULT_NAME", _M, "`redoubt keys …` with the provider `azure`", "the vault is the workspace's, not the job's"
    ),
    Knob("SPARK_EXTRA_JAR_PATH", _M, "`redoubt submit --jars`", "jars are copied and measured"),
    Knob("SPARK_JOB_MAIN_CLASS", _M, "`redoubt submit --class`", "the class is part of what is measured"),
    Knob("BIGDL_VERSION", _M, "`redoubt --version`", "the version of the predecessor"),
)
_SPARK: Final = (
    Knob("LOCAL_IP", _M, "`redoubt cluster up --host`", "a cluster's address; a local job listens on loopback only"),
    Knob(
        "SPARK_LOCAL_IP", _R, "nothing: Redoubt sets it", "an address that is typed makes a driver listen to everybody"
    ),
    Knob(
        "RABIT_TRACKER_IP",
        _R,
        "nothing",
        "XGBoost's tracker speaks plain TCP to whoever connects; single-node training",
    ),
    Knob(
        "SPARK_MODE",
        _M,
        "`redoubt submit` or `redoubt cluster`",
        "client and local; cluster mode starts drivers unattested",
    ),
    Knob("SPARK_HOME", _R, "nothing: the interpreter's own PySpark", "a folder that a variable names is not measured"),
    Knob(
        "JAVA_HOME", _M, "`JAVA_HOME` of the caller", "names the JDK that is measured; the program gets the agent's own"
    ),
    Knob("PYSPARK_PYTHON", _R, "the interpreter of the command", "workers run the interpreter that was measured"),
    Knob(
        "SPARK_AUTHENTICATE_SECRET",
        _R,
        "nothing: generated a job",
        "a secret of a pod's environment is everybody's who sees pods",
    ),
    Knob("RUNTIME_SPARK_MASTER", _M, "`redoubt submit --master`", "which cluster"),
    Knob(
        "RUNTIME_K8S_SERVICE_ACCOUNT",
        _M,
        "the pod's own manifest",
        "an account of Kubernetes proves nothing to the broker",
    ),
    Knob("RUNTIME_K8S_SPARK_IMAGE", _M, "`redoubt agent measure`", "what is measured is files, not an image's name"),
    Knob("RUNTIME_DRIVER_HOST", _M, "`redoubt submit`", "set by Redoubt: loopback, or the cluster's address"),
    Knob("RUNTIME_DRIVER_PORT", _M, "`--conf spark.driver.port=…`", "the driver's port"),
    Knob("RUNTIME_DRIVER_CORES", _M, "`--conf spark.driver.cores=…`", "the driver's cores; `redoubt tee size --cores`"),
    Knob("RUNTIME_DRIVER_MEMORY", _M, "`redoubt submit --driver-memory`", "the driver's heap"),
    Knob("RUNTIME_EXECUTOR_INSTANCES", _M, "`redoubt cluster up --workers`", "how many executors"),
    Knob("RUNTIME_EXECUTOR_CORES", _M, "`redoubt submit --executor-cores`", "cores of an executor"),
    Knob("RUNTIME_EXECUTOR_MEMORY", _M, "`redoubt submit --executor-memory`", "the executor's heap"),
    Knob(
        "RUNTIME_TOTAL_EXECUTOR_CORES", _M, "`redoubt submit --total-executor-cores`", "cores of all executors together"
    ),
    Knob("FLINK_HOME", _R, "nothing yet", "Flink is not in this version"),
    Knob("FLINK_JOB_MANAGER_IP", _R, "nothing yet", "Flink is not in this version"),
    Knob(
        "RUST_BACKTRACE", _R, "`--log-level error`", "a backtrace of Occlum's shows what ran in the enclave to the host"
    ),
)
_SGX_CONF: Final = (
    Knob("spark.kubernetes.sgx.enabled", _M, "`redoubt run --tee`", "what a program is put into is one option"),
    Knob("spark.kubernetes.sgx.mem", _M, "`redoubt tee size --enclave-size`", "the driver's enclave"),
    Knob("spark.kubernetes.sgx.jvm.mem", _M, "`redoubt tee size --driver-memory`", "the driver's heap"),
    Knob("spark.kubernetes.sgx.driver.mem", _M, "`redoubt tee size --enclave-size`", "the driver's enclave"),
    Knob("spark.kubernetes.sgx.driver.jvm.mem", _M, "`redoubt tee size --driver-memory`", "the driver's heap"),
    Knob("spark.kubernetes.sgx.executor.mem", _M, "`redoubt tee size --enclave-size`", "an executor's enclave"),
    Knob("spark.kubernetes.sgx.executor.jvm.mem", _M, "`redoubt tee size --executor-memory`", "an executor's heap"),
    Knob(
        "spark.kubernetes.sgx.log.level",
        _M,
        "`loader.log_level`, `metadata.disable_log`",
        "none, error and warning only",
    ),
)
KNOBS: Final = MappingProxyType({it.name: it for it in (*_ENCLAVE, *_ATTESTATION, *_PATHS, *_SPARK, *_SGX_CONF)})


def table() -> str:
    """Return every knob as a table of Markdown."""
    rows = (f"| `{it.name}` | {it.verdict} | {it.use} | {it.reason} |" for it in KNOBS.values())
    return "\n".join(["| name | verdict | in Redoubt | reason |", "|---|---|---|---|", *rows])
