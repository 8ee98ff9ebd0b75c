"""The key provider's contract as messages: what owners and a broker say to each other below ``/redoubt/v1/keys``.

Every request is signed (:mod:`redoubt.protocol.owner_token`). Data keys go to the broker within TLS, to be wrapped;
they come back only as a JWE to a key that the signed request names.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from redoubt.errors import BrokerMessage, HeaderInvalid, KeyError_
from redoubt.evidence.claims import JSON
from redoubt.evidence.strict_json import from_base64
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.provider import KeyInfo, KeyState, KeyVersionInfo
from redoubt.keys.types import DataKey, Purpose, WrapContext, WrappedKey
from redoubt.limits import DATA_KEY_BYTES, LARGEST_INTEGER, MAX_KEY_API_BYTES, MAX_KEY_BATCH
from redoubt.protocol.jwe import Recipient
from redoubt.protocol.messages import check_members, read_object, text_member, write_object

PATH: Final = "/redoubt/v1/keys"
_VERSION_MEMBERS: Final = frozenset({"version", "state", "created", "wraps", "references"})


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRequest:
    """A call about one key. What a call does not need is left out: None or false."""

    name: KeyName
    version: int | None = None
    state: KeyState | None = None
    even_if_referenced: bool = False

    def encode(self) -> bytes:
        """Return the request body."""
        state = None if self.state is None else self.state.value
        return write_object(
            {
                "name": str(self.name),
                "version": self.version,
                "state": state,
                "even_if_referenced": self.even_if_referenced,
            }
        )

    @classmethod
    def parse(cls, body: bytes) -> KeyRequest:
        """Return the request that *body* is; raises BrokerMessage."""
        what = "the request about a key"
        optional = frozenset({"version", "state", "even_if_referenced"})
        found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"name"}), optional=optional)
        state, anyway = found.get("state"), found.get("even_if_referenced", False)
        if not isinstance(anyway, bool) or (state is not None and state not in list(KeyState)):
            raise BrokerMessage(f"{what} has a malformed member")
        return cls(
            name=_name(found["name"]),
            version=None if found.get("version") is None else _number(found["version"], 1),
            state=None if state is None else KeyState(str(state)),
            even_if_referenced=anyway,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WrapRequest:
    """Data keys to wrap under the newest version of a key."""

    name: KeyName
    keys: Sequence[DataKey]

    def encode(self) -> bytes:
        """Return the request body."""
        items: list[JSON] = [
            {**_context_json(WrapContext(it.dataset_id, it.id, it.purpose)), "secret": _base64(it.secret)}
            for it in self.keys
        ]
        return write_object({"name": str(self.name), "keys": items})

    @classmethod
    def parse(cls, body: bytes) -> WrapRequest:
        """Return the request that *body* is; raises BrokerMessage."""
        what = "the request to wrap"
        found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"name", "keys"}))
        keys = []
        for item in _batch(found["keys"], what):
            if not isinstance(item, Mapping) or "secret" not in item:
                raise BrokerMessage(f"{what} has a data key without a secret")
            secret = from_base64(item["secret"], what="a data key", refusal=BrokerMessage)
            if len(secret) != DATA_KEY_BYTES:
                raise BrokerMessage(f"{what} has a data key of another size")
            context = _context({name: value for name, value in item.items() if name != "secret"})
            keys.append(DataKey(context=context, secret=secret))
        return cls(name=_name(found["name"]), keys=tuple(keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsRequest:
    """Wrapped keys to unwrap, wrap again, release or settle. ``recipient`` is whom an unwrap answers; else None."""

    records: Sequence[WrappedKey]
    recipient: Recipient | None = None

    def encode(self) -> bytes:
        """Return the request body."""
        recipient: dict[str, JSON] = {} if self.recipient is None else {"recipient": dict(self.recipient.jwk)}
        return write_object({**_records_json(self.records), **recipient})

    @classmethod
    def parse(cls, body: bytes) -> RecordsRequest:
        """Return the request that *body* is; raises BrokerMessage, or SecretRefused for a recipient not served."""
        found = read_object(
            body,
            what="the request",
            limit=MAX_KEY_API_BYTES,
            members=frozenset({"records"}),
            optional=frozenset({"recipient"}),
        )
        recipient = None if "recipient" not in found else Recipient.parse(found["recipient"])
        return cls(records=_records(found["records"]), recipient=recipient)


# --- answers ----------------------------------------------------------------------------------------------------------
def encode_info(info: KeyInfo) -> bytes:
    """Return the facts of a key as an answer."""
    return write_object(_info_json(info))


def parse_info(body: bytes) -> KeyInfo:
    """Return the facts in an answer; raises BrokerMessage."""
    members = frozenset({"name", "versions"})
    return _info(read_object(body, what="the facts of a key", limit=MAX_KEY_API_BYTES, members=members))


def encode_list(infos: Sequence[KeyInfo], assurances: frozenset[Assurance]) -> bytes:
    """Return the facts of all keys, and which classes may exist, as an answer."""
    keys: list[JSON] = [_info_json(it) for it in infos]
    return write_object({"keys": keys, "assurances": sorted(it.value for it in assurances)})


def parse_list(body: bytes) -> tuple[tuple[KeyInfo, ...], frozenset[Assurance]]:
    """Return what :func:`encode_list` made; raises BrokerMessage."""
    what = "the list of keys"
    found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"keys", "assurances"}))
    keys, classes = found["keys"], found["assurances"]
    if not isinstance(keys, list) or not isinstance(classes, list) or not all(it in list(Assurance) for it in classes):
        raise BrokerMessage(f"{what} has a malformed member")
    return tuple(map(_info, keys)), frozenset(Assurance(str(it)) for it in classes)


def encode_records(records: Sequence[WrappedKey]) -> bytes:
    """Return wrapped keys as an answer."""
    return write_object(_records_json(records))


def parse_records(body: bytes) -> tuple[WrappedKey, ...]:
    """Return the wrapped keys in an answer; raises BrokerMessage."""
    found = read_object(body, what="the wrapped keys", limit=MAX_KEY_API_BYTES, members=frozenset({"records"}))
    return _records(found["records"])


def encode_secrets(keys: Sequence[DataKey]) -> bytes:
    """Return what is encrypted to an owner who may have these data keys."""
    return write_object({"secrets": [_base64(it.secret) for it in keys]})


def parse_secrets(body: bytes, records: Sequence[WrappedKey]) -> tuple[DataKey, ...]:
    """Return the data keys of *records* in such an answer; raises BrokerMessage."""
    what = "the unwrapped keys"
    found = read_object(body, what=what, limit=MAX_KEY_API_BYTES, members=frozenset({"secrets"}))
    secrets = found["secrets"]
    if not isinstance(secrets, list) or len(secrets) != len(records):
        raise BrokerMessage(f"{what} are not as many as were asked for")
    opened = []
    for secret, record in zip(secrets, records, strict=True):
        raw = from_base64(secret, what="a data key", refusal=BrokerMessage)
        if len(raw) != DATA_KEY_BYTES:
            raise BrokerMessage(f"{what} hold one of another size")
        opened.append(DataKey(context=record.context, secret=raw))
    return tuple(opened)


def encode_contexts(contexts: Sequence[WrapContext]) -> bytes:
    """Return the references of a key as an answer."""
    items: list[JSON] = [_context_json(it) for it in contexts]
    return write_object({"contexts": items})


def parse_contexts(body: bytes) -> tuple[WrapContext, ...]:
    """Return the references in an answer; raises BrokerMessage."""
    found = read_object(body, what="the references", limit=MAX_KEY_API_BYTES, members=frozenset({"contexts"}))
    if not isinstance(found["contexts"], list):
        raise BrokerMessage("the references are no list")
    return tuple(map(_context, found["contexts"]))


# --- parts ------------------------------------------------------------------------------------------------------------
def _info_json(info: KeyInfo) -> dict[str, JSON]:
    versions: list[JSON] = [
        {
            "version": it.version,
            "state": it.state.value,
            "created": it.created,
            "wraps": it.wraps,
            "references": it.references,
        }
        for it in info.versions
    ]
    return {"name": str(info.name), "versions": versions}


def _info(value: JSON) -> KeyInfo:
    what = "the facts of a key"
    versions = value.get("versions") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or set(value) != {"name", "versions"} or not isinstance(versions, list):
        raise BrokerMessage(f"{what} have unknown or missing members")
    found = []
    for it in versions:
        if not isinstance(it, Mapping):
            raise BrokerMessage(f"{what} have a version that is none")
        check_members(it, what=what, members=_VERSION_MEMBERS)
        if it["state"] not in list(KeyState):
            raise BrokerMessage(f"{what} have an unknown state")
        numbers = [_number(it[name], 0) for name in ("version", "created", "wraps", "references")]
        version, created, wraps, references = numbers
        found.append(KeyVersionInfo(version, KeyState(str(it["state"])), created, wraps, references))
    if not found:
        raise BrokerMessage(f"{what} have no version")
    return KeyInfo(_name(value["name"]), tuple(found))


def _records_json(records: Sequence[WrappedKey]) -> dict[str, JSON]:
    return {"records": [_base64(it.encode()) for it in records]}


def _records(value: JSON) -> tuple[WrappedKey, ...]:
    try:
        return tuple(
            WrappedKey.decode(from_base64(it, what="a wrapped key", refusal=BrokerMessage))
            for it in _batch(value, "the request")
        )
    except HeaderInvalid as error:
        raise BrokerMessage(f"a record is no wrapped key: {error.what}") from None


def _batch(value: JSON, what: str) -> Sequence[JSON]:
    if not isinstance(value, list) or len(value) > MAX_KEY_BATCH:
        raise BrokerMessage(f"{what} has no list of at most {MAX_KEY_BATCH}")
    return value


def _context_json(context: WrapContext) -> dict[str, JSON]:
    return {
        "dataset": str(context.dataset_id),
        "data_key": str(context.data_key_id),
        "purpose": context.purpose.value,
    }


def _context(value: JSON) -> WrapContext:
    if not isinstance(value, Mapping):
        raise BrokerMessage("a context is no object")
    check_members(value, what="a context", members=frozenset({"dataset", "data_key", "purpose"}))
    texts = [text_member(value, it, what="a context") for it in ("dataset", "data_key", "purpose")]
    try:
        return WrapContext(UUID(texts[0]), UUID(texts[1]), Purpose(texts[2]))
    except ValueError:
        raise BrokerMessage("a context has a malformed member") from None


def _name(value: JSON) -> KeyName:
    try:
        return KeyName.parse(value if isinstance(value, str) else "")
    except KeyError_ as error:
        raise BrokerMessage(error.what) from None


def _number(value: JSON, least: int) -> int:
    if type(value) is not int or not least <= value <= LARGEST_INTEGER:
        raise BrokerMessage("a number of a key is none")
    return value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
