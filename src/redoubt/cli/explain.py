"""``redoubt explain``: why an attester was refused, and the edit of the manifest that would allow it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from uuid import UUID

import typer

from redoubt.cli.files import read_file
from redoubt.cli.output import Json
from redoubt.cli.owner_broker import (
    BrokerIdOption,
    BrokerOption,
    CaOption,
    OwnerKeyOption,
    owner_client,
    refuse_without_broker,
)
from redoubt.cli.session import Session, command
from redoubt.errors import (
    ArgumentsRefused,
    GrantMissing,
    NotFound,
    ProgramRefused,
    RoleNotGranted,
    UsageError,
    WorkspaceMissing,
)
from redoubt.limits import MAX_REFUSAL_BYTES

if TYPE_CHECKING:
    from redoubt.trust.explain import Explanation
    from redoubt.trust.refusal import Refusal

app = typer.Typer()
REFUSALS = "refusals"
_ID: Final = re.compile(r"[0-9a-fA-F]{8}[0-9a-fA-F-]{0,28}")
#: What trusting a program mends.
_TRUSTED: Final = frozenset({ProgramRefused.code, ArgumentsRefused.code, GrantMissing.code, RoleNotGranted.code})


@command(app, example="redoubt explain 6fa8… --broker https://broker:8443 --ca ca.pem --owner-key alice.pem")
def explain(
    session: Session,
    refusal: Annotated[
        str,
        typer.Argument(
            metavar="FILE|ID",
            help="The record of the refusal, or the id that the attester was given (of a record in the workspace its "
            "first eight digits suffice).",
        ),
    ],
    *,
    broker: BrokerOption = None,
    ca: CaOption = None,
    owner_key: OwnerKeyOption = None,
    broker_id: BrokerIdOption = None,
) -> None:
    """Say which claims failed, what was expected of them, and which edit of the manifest would allow them.

    The broker keeps the records: ask it with --broker, as an owner. A development broker writes them to its workspace.

    Every such edit loosens the manifest. Look at what it would do with `redoubt manifest plan` before you sign it.
    """
    from redoubt.trust.explain import explain as explain_refusal
    from redoubt.trust.refusal import Refusal

    if broker is not None:
        record = owner_client(broker, ca, owner_key, broker_id).refusal(_id(refusal))
    else:
        refuse_without_broker(ca, owner_key, broker_id)
        make = (
            "Give the file of a record, or the id that the refused program was told: a UUID, or its first eight digits."
        )
        record = Refusal.parse(read_file(_find(session, refusal), limit=MAX_REFUSAL_BYTES, make=make))
    found = explain_refusal(record)
    text = _as_text(record, found)
    development = _development(session, record)
    if development is not None:
        text += f"\n\ndevelopment: {development}"
    session.output.result(
        {**_facts(record), "failures": [_as_json(it) for it in found], "development": development}, text=text
    )


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise UsageError(f"{text!r} is not the id of a refusal, which is a UUID") from None


def _find(session: Session, text: str) -> Path:
    path = Path(text)
    if path.exists() or not _ID.fullmatch(text):
        return path
    digits = text.lower().replace("-", "")
    kept = sorted((session.workspace.state_folder / REFUSALS).glob("*.json"))
    stored = [it for it in kept if it.stem.replace("-", "").startswith(digits)]
    if not stored:
        raise NotFound(
            f"no refusal {text} is recorded in this workspace",
            hint="Ask the broker that refused: --broker URL --ca FILE --owner-key FILE.",
        )
    if len(stored) > 1:
        raise UsageError(f"the ids of {len(stored)} refusals start with {text}", hint="Give more digits of the id.")
    return stored[0]


def _development(session: Session, record: Refusal) -> str | None:
    """Return the command that makes the edits for its user, if the workspace's own development manifest refused."""
    from redoubt.cli.agent_local import is_development
    from redoubt.trust.store import ManifestStore

    if not {it.code for it in record.failures} <= _TRUSTED:
        return None
    try:
        history = ManifestStore(session.workspace.state_folder).history()
    except WorkspaceMissing:  # a record that somebody sent
        return None
    if not history or record.manifest not in {it.digest for it in history} or not is_development(history[-1]):
        return None
    if RoleNotGranted.code in {it.code for it in record.failures}:
        return "`redoubt submit --trust …`, or `redoubt cluster trust -- CMD`, makes this edit for a driver"
    return "`redoubt agent trust -- CMD`, or `redoubt submit --trust …`, makes this edit"


def _facts(record: Refusal) -> dict[str, Json]:
    return {
        "id": str(record.id),
        "at": record.at.isoformat(),
        "tee": record.tee,
        "evidence": record.evidence,
        "program": record.program,
        "binding": record.binding.value,
        "manifest": record.manifest,
        "manifest_version": record.manifest_version,
    }


def _as_json(it: Explanation) -> Json:
    return {
        "code": it.failure.code,
        "claim": it.failure.claim,
        "expected": list(it.failure.expected),
        "actual": it.failure.actual,
        "path": list(it.failure.path),
        "text": it.text,
        "why": it.cause,
        "next": it.next_step,
        "edit": it.edit,
    }


def _as_text(record: Refusal, found: tuple[Explanation, ...]) -> str:
    lines = [
        f"refused at {record.at.isoformat()}: {record.tee} evidence {record.evidence}",
        f"under manifest version {record.manifest_version}, {record.manifest}",
    ]
    for it in found:
        lines += ["", f"[{it.failure.code}] {it.text}", f"Why: {it.cause}", f"Next: {it.next_step}"]
        if it.edit is None:
            lines.append("No edit of the manifest would allow it.")
        else:
            lines += ["This edit would allow it:", *(f"    {line}" for line in it.edit.splitlines())]
    return "\n".join(lines)
