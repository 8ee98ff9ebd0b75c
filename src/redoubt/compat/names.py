"""The names that options take: key services and file layouts of BigDL PPML. Light, since every `--help` loads it."""

from __future__ import annotations

from enum import StrEnum


class Service(StrEnum):
    """The key management services of BigDL PPML under its own names, and two ways without one."""

    SIMPLE = "SimpleKeyManagementService"
    EHSM = "EHSMKeyManagementService"
    AZURE = "AzureKeyManagementService"
    BIGDL = "BigDLKeyManagementService"
    #: A primary key that stands in the configuration, in base64.
    PLAIN_TEXT = "plainText"
    #: An RSA key of a vault that was exported or restored from a backup.
    RSA = "rsa"


class Layout(StrEnum):
    """How a file was written."""

    GEN_A = "gen-a"
    GEN_B = "gen-b"
    NATIVE = "native-cbc"
    FERNET = "fernet"
