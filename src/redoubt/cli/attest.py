"""``redoubt attest``: evidence of this machine, and why this kind of evidence."""

from __future__ import annotations

import base64
import importlib
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from redoubt.cli.output import Json
from redoubt.cli.session import Session, command
from redoubt.errors import TeeMissing, UsageError
from redoubt.evidence.claims import Tee
from redoubt.limits import REPORT_DATA_BYTES

if TYPE_CHECKING:
    from redoubt.evidence.collect.attester import Attester, Collected

app = typer.Typer()


class Choice(StrEnum):
    """What `--tee` takes: the TEEs that can be collected from here, or whichever the machine has."""

    AUTO = "auto"
    SGX = "sgx"
    TDX = "tdx"
    SNP = "snp"
    TPM = "tpm"
    SIMULATED = "simulated"


@command(app, example="redoubt attest --tee auto --report-data 5fc1… --json")
def attest(
    session: Session,
    *,
    tee: Annotated[Choice, typer.Option("--tee", help="The TEE to use.")] = Choice.AUTO,
    report_data: Annotated[
        str | None,
        typer.Option("--report-data", metavar="HEX", help="Up to 64 bytes that the verifier chose; padded with zeros."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write the evidence to this file.")] = None,
) -> None:
    """Collect evidence from this machine's TEE, and say which interface gave it, and why. Exit status 7: no TEE."""
    from redoubt.evidence.collect.machine import attesters, collect, consider

    data = _report_data(report_data)
    candidates = (_simulated(),) if tee is Choice.SIMULATED else attesters()
    considered = consider(candidates)
    wanted = None if tee is Choice.AUTO else Tee(tee.value)
    attester, collected = collect(considered, data, tee=wanted)
    if report_data is None:
        session.output.say("no --report-data was given: this evidence is bound to nothing, so no verifier may take it")
    if collected.tee is Tee.SIMULATED:
        session.output.say("SIMULATED evidence: it proves nothing about hardware")
    if out is not None:
        out.write_bytes(collected.evidence)
    why = next(it.finding.why for it in considered if it.attester is attester)
    result = _facts(attester, collected, why, data)
    result["considered"] = [
        {"attester": it.attester.name, "present": it.finding.present, "why": it.finding.why} for it in considered
    ]
    text = f"{collected.tee}: {len(collected.evidence)} bytes of evidence through {attester.name} ({why})"
    session.output.result(result, text=text if out is None else f"{text}, written to {out}")


def choose(tee: Choice) -> Attester:
    """Return the attester of *tee* on this machine; raises TeeMissing."""
    from redoubt.evidence.collect.machine import attesters, choose_attester, consider

    if tee is Choice.SIMULATED:
        return _simulated()
    return choose_attester(consider(attesters()), tee=None if tee is Choice.AUTO else Tee(tee.value))


def _facts(attester: Attester, collected: Collected, why: str, report_data: bytes) -> dict[str, Json]:
    auxiliary = collected.auxiliary
    return {
        "tee": collected.tee.value,
        "attester": attester.name,
        "why": why,
        "report_data": report_data.hex(),
        "evidence": base64.b64encode(collected.evidence).decode(),
        "auxiliary": None if auxiliary is None else base64.b64encode(auxiliary).decode(),
    }


def _report_data(text: str | None) -> bytes:
    try:
        data = bytes.fromhex(text or "")
    except ValueError:
        raise UsageError("--report-data is not hexadecimal") from None
    if len(data) > REPORT_DATA_BYTES:
        raise UsageError(f"--report-data is longer than {REPORT_DATA_BYTES} bytes")
    return data.ljust(REPORT_DATA_BYTES, b"\0")


def _simulated() -> Attester:
    try:
        # By name: the second wheel imports this one, and must be absent in production.
        attester: Attester = importlib.import_module("redoubt_dev").SimulatedAttester()
    except ModuleNotFoundError:
        raise TeeMissing(
            "simulated evidence comes from the package redoubt-dev, which is not installed",
            hint="For development only: `pip install ./dev` in the repository, then `redoubt attest --tee simulated`.",
        ) from None
    return attester
