"""What ``redoubt evidence verify --tee`` takes: apart from the verifiers, so that help loads none of them."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What ``redoubt evidence verify --tee`` takes."""

    SGX = "sgx"
    TDX = "tdx"
    SNP = "snp"
    AZ_SNP_VTPM = "az-snp-vtpm"
    AZ_TDX_VTPM = "az-tdx-vtpm"
    TPM = "tpm"
    MAA = "maa"
    ITA = "ita"
    EAR = "ear"
    CCEL = "ccel"
