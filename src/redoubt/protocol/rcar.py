"""RCAR, the attestation protocol of Confidential Containers' key broker: request, challenge, attestation, response.

Source: Trustee's ``kbs_attestation_protocol.md`` and kbs-types, protocol version 0.4.0; RFC 8785 for what is hashed.
``docs/protocol.md`` has the exact bytes and a transcript that a test replays.

The rules:

1. Only version 0.4.0 is served. Older ones send another attestation (``tee-pubkey`` at its top) over other report data,
   which covers no additional evidence and so no program.
2. The nonce is the broker's: 32 random bytes, compared as the bytes they spell.
3. Report data is SHA-384 over the canonical form of ``{"additional-evidence", "nonce", "tee-pubkey"}``, followed by
   sixteen zeros. Whatever the attester says outside of it is not bound, and is not used.
4. ``additional_evidence`` is empty, or the canonical form of a program statement. Evidence of further devices is
   refused: nothing here verifies it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import rfc8785

from redoubt.errors import BrokerMessage, ProtocolVersion, ReceiptSigner
from redoubt.evidence.claims import JSON, Tee
from redoubt.evidence.strict_json import parse_object
from redoubt.limits import (
    MAX_ARGUMENT_CHARACTERS,
    MAX_ARGUMENTS,
    MAX_INIT_DATA_BYTES,
    MAX_RCAR_BYTES,
    MAX_TOKEN_BYTES,
    RCAR_NONCE_BYTES,
    REPORT_DATA_BYTES,
)
from redoubt.protocol.jwe import Recipient
from redoubt.protocol.messages import (
    bytes_member,
    check_members,
    object_member,
    read_object,
    text_member,
    write_object,
)
from redoubt.trust.program import is_digest
from redoubt.trust.signer_key import parse_signer, signer_jwk

VERSION: Final = "0.4.0"
SESSION_COOKIE: Final = "kbs-session-id"
PATH: Final = "/kbs/v0"
_SUPPORTED: Final = "supported-hash-algorithms"
_SELECTED: Final = "selected-hash-algorithm"
_HASH: Final = "sha384"
_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
#: How kbs-types before 0.14 spelt two of the names.
_OLD_NAMES: Final[Mapping[str, str]] = {"azsnpvtpm": Tee.AZ_SNP_VTPM.value, "aztdxvtpm": Tee.AZ_TDX_VTPM.value}
STATEMENT_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """The first message of an attester. ``tee`` is a word; whether it is served is the broker's to say."""

    tee: str

    def encode(self) -> bytes:
        """Return the request body."""
        return write_object({"version": VERSION, "tee": self.tee, "extra-params": {_SUPPORTED: [_HASH]}})

    @classmethod
    def parse(cls, body: bytes) -> AuthRequest:
        """Return the request that *body* is; raises BrokerMessage, or ProtocolVersion for a version not served."""
        what = "the request"
        found = read_object(
            body, what=what, limit=MAX_RCAR_BYTES, members=frozenset({"version", "tee", "extra-params"})
        )
        version, tee = (text_member(found, it, what=what) for it in ("version", "tee"))
        if version != VERSION:
            raise ProtocolVersion(f"the peer speaks RCAR {version[:16]!r}; {VERSION} is served")
        if not _NAME.fullmatch(tee):
            raise BrokerMessage("the request's TEE is no name of one")
        extra = found["extra-params"]
        # Clients list what they can compute; those without a choice to make send an empty text or object.
        offered = extra.get(_SUPPORTED, [_HASH]) if isinstance(extra, Mapping) else [_HASH]
        if not isinstance(extra, str | Mapping) or not isinstance(offered, list):
            raise BrokerMessage("the request's extra-params are neither an object nor empty")
        if not any(isinstance(it, str) and it.lower() == _HASH for it in offered):
            raise BrokerMessage("the attester does not offer SHA-384, with which report data is hashed")
        return cls(_OLD_NAMES.get(tee, tee))


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the broker answers: its nonce. The session travels as a cookie."""

    nonce: bytes

    def encode(self) -> bytes:
        """Return the response body."""
        return write_object({"nonce": nonce_text(self.nonce), "extra-params": ""})

    @classmethod
    def parse(cls, body: bytes) -> Challenge:
        """Return the challenge that *body* is; raises BrokerMessage."""
        what = "the challenge"
        found = read_object(body, what=what, limit=MAX_RCAR_BYTES, members=frozenset({"nonce", "extra-params"}))
        extra = found["extra-params"]
        if extra != "" and extra != {} and extra != {_SELECTED: _HASH}:
            raise BrokerMessage("the challenge selects another hash than SHA-384, or has parameters unknown here")
        nonce = bytes_member(found, "nonce", what=what)
        if len(nonce) != RCAR_NONCE_BYTES:
            raise BrokerMessage(f"the challenge's nonce has {len(nonce)} bytes, not {RCAR_NONCE_BYTES}")
        return cls(nonce)


@dataclass(frozen=True, slots=True)
class ProgramStatement:
    """What an attester says of its program, covered by the report data (hardening H4)."""

    digest: str
    arguments: tuple[str, ...]
    #: The public key (JWK) that the agent signs with; clients that sign nothing state none.
    signer: Mapping[str, str] | None = None

    def encode(self) -> str:
        """Return the text that stands in ``additional_evidence``: one spelling, RFC 8785.

        Raises:
            BrokerMessage: it says something that no statement may.
        """
        _check_statement(self.digest, list(self.arguments))
        body: dict[str, JSON] = {
            "format": STATEMENT_FORMAT,
            "program": self.digest,
            "arguments": list(self.arguments),
        }
        if self.signer is not None:
            body["signer"] = dict(self.signer)
        return rfc8785.dumps({"redoubt": body}).decode()

    @classmethod
    def parse(cls, text: str) -> ProgramStatement | None:
        """Return the statement in *text*; None if it is empty, as from clients that know nothing of programs.

        Raises:
            BrokerMessage: it is something else, or not in its canonical form.
        """
        if text in ("", "{}"):
            return None
        what = "the additional evidence"
        raw = text.encode("utf-8", errors="replace")
        found = parse_object(raw, what=what, limit=MAX_RCAR_BYTES, refusal=BrokerMessage)
        if set(found) != {"redoubt"}:
            raise BrokerMessage(f"{what} speaks of further devices, whose evidence is not verified here")
        body = object_member(found, "redoubt", what=what)
        members, optional = frozenset({"format", "program", "arguments"}), frozenset({"signer"})
        check_members(body, what=what, members=members, optional=optional)
        if type(body["format"]) is not int or body["format"] != STATEMENT_FORMAT:
            raise BrokerMessage(f"{what} is of an unknown format")
        signer = _signer(body["signer"]) if "signer" in body else None
        statement = cls(*_check_statement(body["program"], body["arguments"]), signer)
        if statement.encode() != text:
            raise BrokerMessage(f"{what} is not in its one canonical form")
        return statement


def _check_statement(digest: JSON, arguments: JSON) -> tuple[str, tuple[str, ...]]:
    if not isinstance(digest, str) or not is_digest(digest):
        raise BrokerMessage("the program statement names no digest")
    if not isinstance(arguments, list) or len(arguments) > MAX_ARGUMENTS:
        raise BrokerMessage(f"the program statement has no list of at most {MAX_ARGUMENTS} arguments")
    texts = []
    for it in arguments:
        if not isinstance(it, str) or len(it) > MAX_ARGUMENT_CHARACTERS or any("\ud800" <= c <= "\udfff" for c in it):
            raise BrokerMessage("an argument in the program statement is no text, or too long")
        texts.append(it)
    return digest, tuple(texts)


def _signer(value: JSON) -> Mapping[str, str]:
    try:
        return signer_jwk(parse_signer(value))
    except ReceiptSigner as error:
        raise BrokerMessage(error.what) from None


@dataclass(frozen=True, slots=True)
class AttestRequest:
    """The attestation. Nothing in it is verified yet."""

    nonce: bytes
    #: To whom secrets are encrypted.
    tee_pubkey: Recipient
    #: The body of ``primary_evidence``; :mod:`redoubt.protocol.evidence_body` reads it.
    evidence: JSON
    additional_evidence: str

    @property
    def report_data(self) -> bytes:
        """The 64 bytes that the evidence must be over."""
        return report_data(
            nonce=self.nonce, tee_pubkey=self.tee_pubkey.jwk, additional_evidence=self.additional_evidence
        )

    @property
    def program(self) -> ProgramStatement | None:
        """What it says of the program; raises BrokerMessage."""
        return ProgramStatement.parse(self.additional_evidence)

    def encode(self) -> bytes:
        """Return the request body."""
        runtime: dict[str, JSON] = {"nonce": nonce_text(self.nonce), "tee-pubkey": dict(self.tee_pubkey.jwk)}
        evidence: dict[str, JSON] = {
            "primary_evidence": self.evidence,
            "additional_evidence": self.additional_evidence,
        }
        return write_object({"runtime-data": runtime, "tee-evidence": evidence})

    @classmethod
    def parse(cls, body: bytes) -> AttestRequest:
        """Return the attestation that *body* is.

        Raises:
            BrokerMessage: it is none.
            SecretRefused: its key is one that secrets are not encrypted to, such as one for RSA1_5.
        """
        what = "the attestation"
        found = read_object(
            body,
            what=what,
            limit=MAX_RCAR_BYTES,
            members=frozenset({"runtime-data", "tee-evidence"}),
            optional=frozenset({"init-data"}),
        )
        _check_init_data(found.get("init-data"))
        runtime, evidence = (object_member(found, it, what=what) for it in ("runtime-data", "tee-evidence"))
        check_members(runtime, what="the runtime-data", members=frozenset({"nonce", "tee-pubkey"}))
        check_members(evidence, what="the tee-evidence", members=frozenset({"primary_evidence", "additional_evidence"}))
        return cls(
            nonce=bytes_member(runtime, "nonce", what="the runtime-data"),
            tee_pubkey=Recipient.parse(runtime["tee-pubkey"]),
            evidence=evidence["primary_evidence"],
            additional_evidence=text_member(evidence, "additional_evidence", what="the tee-evidence"),
        )


def _check_init_data(value: JSON) -> None:
    """Return if *value* is init-data or None. It is not used: what binds it is a claim, such as ``snp.host_data``."""
    if value is None:
        return
    if not isinstance(value, Mapping) or set(value) != {"format", "body"}:
        raise BrokerMessage("the init-data is not {format, body}")
    if not all(isinstance(it, str) and len(it) <= MAX_INIT_DATA_BYTES for it in value.values()):
        raise BrokerMessage("the init-data is no text, or too long")


@dataclass(frozen=True, slots=True)
class AttestResponse:
    """The attestation result, an EAR."""

    token: str

    def encode(self) -> bytes:
        """Return the response body."""
        return write_object({"token": self.token})

    @classmethod
    def parse(cls, body: bytes) -> AttestResponse:
        """Return the response that *body* is; raises BrokerMessage."""
        what = "the attestation response"
        found = read_object(body, what=what, limit=2 * MAX_TOKEN_BYTES, members=frozenset({"token"}))
        return cls(text_member(found, "token", what=what))


def report_data(*, nonce: bytes, tee_pubkey: Mapping[str, str], additional_evidence: str) -> bytes:
    """Return the 64 bytes that primary evidence is over."""
    bound: dict[str, JSON] = {
        "additional-evidence": additional_evidence,
        "nonce": nonce_text(nonce),
        "tee-pubkey": dict(tee_pubkey),
    }
    return hashlib.sha384(rfc8785.dumps(bound)).digest().ljust(REPORT_DATA_BYTES, b"\0")


def nonce_text(nonce: bytes) -> str:
    """Return *nonce* as it stands in messages and in what is hashed."""
    return base64.b64encode(nonce).decode()
