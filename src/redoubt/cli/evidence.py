"""``redoubt evidence verify``: one piece of evidence, judged by the same code as the broker's.

For outsiders and for comparison with other verifiers: it judges authenticity and not an owner's policy, and its output
and exit statuses (0 accept, 1 reject, 2 usage) are fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from redoubt.cli.files import read_file
from redoubt.cli.output import Json
from redoubt.cli.session import Session, command, group
from redoubt.errors import EvidenceCollateral, RedoubtError, UsageError
from redoubt.evidence.kinds import Kind
from redoubt.limits import MAX_EVIDENCE_FILE_BYTES

app = group("Verify evidence and attestation results.")
_REJECTED = 1
_GIVE_COLLATERAL = (
    "Give the collateral of this platform with --collateral FILE, of the time of --at; for AMD also --certs."
)


@command(
    app, example="redoubt evidence verify --tee snp --evidence report.bin --certs vcek.der --at 2026-01-01T00:00:00Z"
)
def verify(
    session: Session,
    *,
    tee: Annotated[Kind, typer.Option("--tee", help="What kind of evidence it is.")],
    evidence: Annotated[Path, typer.Option("--evidence", metavar="FILE", help="The evidence, or the token.")],
    at: Annotated[str, typer.Option("--at", metavar="RFC3339", help="The verifier's time.")],
    collateral: Annotated[
        Path | None,
        typer.Option(
            "--collateral", metavar="FILE", help="Intel's collateral (JSON of dcap-qvl), or AMD's revocation list."
        ),
    ] = None,
    certs: Annotated[
        list[Path] | None, typer.Option("--certs", metavar="FILE", help="AMD's certificates, DER or PEM; repeatable.")
    ] = None,
    keys: Annotated[
        list[Path] | None, typer.Option("--keys", metavar="FILE", help="The issuer's keys, JWKS or PEM; repeatable.")
    ] = None,
    nonce: Annotated[str | None, typer.Option("--nonce", metavar="HEX", help="The nonce that it must carry.")] = None,
    report_data: Annotated[
        str | None, typer.Option("--report-data", metavar="HEX", help="The report data that it must carry.")
    ] = None,
    ak: Annotated[
        Path | None, typer.Option("--ak", metavar="FILE", help="The enrolled attestation key of a TPM.")
    ] = None,
    quote: Annotated[
        list[Path] | None,
        typer.Option(
            "--quote",
            metavar="FILE",
            help="The quote that belongs to the evidence: of the TD for ccel and HCL reports; of the TPM, message and "
            "then signature, for HCL reports of SNP.",
        ),
    ] = None,
) -> None:
    """Say whether evidence is authentic, and what it proves. Exit status 0: accepted, 1: rejected, 2: usage.

    These statuses are a contract of this command alone: elsewhere 1 is a fault of Redoubt, and 3 is what was refused.

    An out-of-date TCB and the debug policy of SNP are claims of accepted evidence: whether they are good enough is for
    the manifest to say. What cannot be proved is rejected.
    """
    from redoubt.evidence.verify import Request, verify_request

    request = Request(
        kind=tee,
        evidence=_read(evidence),
        now=_time(at),
        collateral=None if collateral is None else _read(collateral),
        certificates=tuple(map(_read, certs or ())),
        keys=tuple(map(_read, keys or ())),
        nonce=_hex(nonce, "--nonce"),
        report_data=_hex(report_data, "--report-data"),
        attestation_key=None if ak is None else _read(ak),
        quotes=tuple(map(_read, quote or ())),
    )
    try:
        verified = verify_request(request)
    except UsageError:
        raise
    except RedoubtError as error:
        verdict: dict[str, Json] = {"verdict": "reject", "tcb_status": None, "advisories": [], "claims": {}}
        verdict["error"] = {"code": error.code, "reason": error.what}
        session.output.result(verdict, text=f"reject: {error}")
        if isinstance(error, EvidenceCollateral) and not session.options.json:
            session.output.say(f"Next: {_GIVE_COLLATERAL}")
        raise typer.Exit(_REJECTED) from None
    claims: Mapping[str, Json] = dict(verified.claims)
    lines = [f"accept: {tee}, {verified.evidence_digest}", *(f"{name}: {value}" for name, value in claims.items())]
    session.output.result(
        {
            "verdict": "accept",
            "tcb_status": verified.tcb_status,
            "advisories": list(verified.advisories),
            "claims": claims,
            "error": None,
        },
        text="\n".join(lines),
    )


def _read(path: Path) -> bytes:
    return read_file(path, limit=MAX_EVIDENCE_FILE_BYTES)


def _hex(text: str | None, option: str) -> bytes | None:
    if text is None:
        return None
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"{option} is not hexadecimal") from None
    if not found:
        raise UsageError(f"{option} is empty")
    return found


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"--at {text} is not a time in RFC 3339", hint="Write 2026-01-31T12:00:00Z.") from None
    if found.tzinfo is None:
        raise UsageError(f"--at {text} names no time zone", hint="Write 2026-01-31T12:00:00Z.")
    return found
