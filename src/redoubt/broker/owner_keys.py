"""The key provider's contract, as owners use it over the broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from redoubt.broker.core import Core, Event
from redoubt.broker.created import check_made, check_value
from redoubt.broker.owners import Owner, check_manages, check_opens, find_owned
from redoubt.errors import BrokerMessage
from redoubt.evidence.claims import JSON
from redoubt.keys.names import KeyName
from redoubt.keys.provider import KeyInfo, Provider
from redoubt.keys.types import DataKey
from redoubt.protocol.jwe import encrypt
from redoubt.protocol.owner_api import (
    KeyRequest,
    RecordsRequest,
    WrapRequest,
    encode_contexts,
    encode_info,
    encode_list,
    encode_records,
    encode_secrets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerKeys:
    """Primary keys at the broker, for their owners."""

    core: Core

    @property
    def calls(self) -> Mapping[str, Callable[[Owner, bytes], bytes]]:
        """Name below ``/redoubt/v1/keys/`` → what does it. Each raises KeyError_, OwnerForbidden or BrokerMessage."""
        return MappingProxyType(
            {
                "describe": self._describe,
                "rotate": self._rotate,
                "state": self._state,
                "destroy": self._destroy,
                "wrap": self._wrap,
                "unwrap": self._unwrap,
                "rewrap": self._rewrap,
                "release": self._release,
                "settle": self._settle,
                "references": self._references,
            }
        )

    @property
    def _provider(self) -> Provider:
        return self.core.store.provider

    def list(self, owner: Owner) -> bytes:
        """Return the facts of every key: names and numbers, which every owner may know."""
        return encode_list(self._provider.list(), self._provider.assurances)

    def create(self, owner: Owner, body: bytes) -> bytes:
        """Create a key; raises KeyExists or AssuranceRefused."""
        request = KeyRequest.parse(body)
        return self._change("create", owner, request.name, self._provider.create)

    def _describe(self, owner: Owner, body: bytes) -> bytes:
        return encode_info(self._provider.describe(KeyRequest.parse(body).name))

    def _rotate(self, owner: Owner, body: bytes) -> bytes:
        return self._change("rotate", owner, KeyRequest.parse(body).name, self._provider.rotate)

    def _state(self, owner: Owner, body: bytes) -> bytes:
        request = KeyRequest.parse(body)
        state = request.state
        if state is None:
            raise BrokerMessage("the request names no state")
        return self._change(
            state.value,
            owner,
            request.name,
            lambda name: self._provider.set_state(name, state, version=request.version),
        )

    def _destroy(self, owner: Owner, body: bytes) -> bytes:
        request = KeyRequest.parse(body)
        version = request.version
        if version is None:
            raise BrokerMessage("the request names no version")
        return self._change(
            "destroy",
            owner,
            request.name,
            lambda name: self._provider.destroy(name, version=version, even_if_referenced=request.even_if_referenced),
        )

    def _wrap(self, owner: Owner, body: bytes) -> bytes:
        request = WrapRequest.parse(body)
        facts = self._facts("wrap", owner, request.name) | {"data_keys": [str(it.id) for it in request.keys]}
        with self.core.audited(Event.KEYS, facts):
            check_manages(owner, request.name)
            records = self._provider.wrap(request.name, request.keys)
            self._note_created(owner, request.keys)
        return encode_records(records)

    def _unwrap(self, owner: Owner, body: bytes) -> bytes:
        request = RecordsRequest.parse(body)
        recipient = request.recipient
        if recipient is None:
            raise BrokerMessage("the request names no recipient for the data keys")
        with self.core.audited(Event.KEYS, self._of_records("unwrap", owner, request)):
            created = check_opens(owner, request.records, self.core.store.created)
            keys = self._provider.unwrap(request.records)
            check_made(self.core.store.created, [it for it in keys if it.dataset_id in created])
        return encrypt(encode_secrets(keys), recipient)

    def _rewrap(self, owner: Owner, body: bytes) -> bytes:
        request = RecordsRequest.parse(body)
        with self.core.audited(Event.KEYS, self._of_records("rewrap", owner, request)):
            self._check_all(owner, request)
            records = self._provider.rewrap(request.records)
        return encode_records(records)

    def _release(self, owner: Owner, body: bytes) -> bytes:
        request = RecordsRequest.parse(body)
        with self.core.audited(Event.KEYS, self._of_records("release", owner, request)):
            self._check_all(owner, request)
            self._provider.release(request.records)
        return b"{}"

    def _settle(self, owner: Owner, body: bytes) -> bytes:
        request = RecordsRequest.parse(body)
        with self.core.audited(Event.KEYS, self._of_records("settle", owner, request)):
            self._check_all(owner, request)
            self._provider.settle(request.records)
        return b"{}"

    def _references(self, owner: Owner, body: bytes) -> bytes:
        request = KeyRequest.parse(body)
        return encode_contexts(self._provider.references(request.name, version=request.version))

    def _note_created(self, owner: Owner, keys: Sequence[DataKey]) -> None:
        """What an owner adds to a dataset that a program created, programs and owners open as they do the rest."""
        for key in keys:
            owned = find_owned(owner, key.dataset_id, self.core.store.created)
            if owned is not None and owned.created:
                self.core.store.created.add(
                    key.dataset_id,
                    parent=owned.dataset.id,
                    data_key_id=key.id,
                    check_value=check_value(key),
                    appends=True,
                )

    def _change(self, call: str, owner: Owner, name: KeyName, change: Callable[[KeyName], KeyInfo]) -> bytes:
        with self.core.audited(Event.KEYS, self._facts(call, owner, name)):
            check_manages(owner, name)
            info = change(name)
        return encode_info(info)

    @staticmethod
    def _check_all(owner: Owner, request: RecordsRequest) -> None:
        for name in {it.key for it in request.records}:
            check_manages(owner, name)

    @staticmethod
    def _facts(call: str, owner: Owner, name: KeyName) -> dict[str, JSON]:
        return {**owner.facts, "call": call, "key": str(name)}

    @staticmethod
    def _of_records(call: str, owner: Owner, request: RecordsRequest) -> dict[str, JSON]:
        data_keys: list[JSON] = [str(it.context.data_key_id) for it in request.records]
        return {**owner.facts, "call": call, "data_keys": data_keys}
