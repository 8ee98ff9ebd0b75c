"""The provider ``broker``: primary keys that a broker holds, for an owner.

Books, states and references are the broker's. Data keys go there within TLS to be wrapped, and come back encrypted to
a key that lives for one call. What comes back is of the keys and contexts that were asked for, or refused; that the
broker wraps what it was given is its word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from redoubt.errors import (
    BrokerError,
    BrokerMessage,
    BrokerUnreachable,
    BrokerUntrusted,
    KeyError_,
    NamespaceUnmapped,
    NotFound,
    ProviderAnswerInvalid,
    ProviderDenied,
    ProviderSettingsInvalid,
    ProviderUnreachable,
    ProviderUntrusted,
    RedoubtError,
    SecretRefused,
    UsageError,
)
from redoubt.keys.names import Assurance, KeyName
from redoubt.keys.private import read_regular_file
from redoubt.keys.provider import KeyInfo, KeyState
from redoubt.keys.registry import ProviderPlace
from redoubt.keys.types import DataKey, WrapContext, WrappedKey
from redoubt.limits import MAX_CA_FILE_BYTES, MAX_KEY_API_BYTES, MAX_KEY_BATCH, OWNER_RETRY_SECONDS
from redoubt.protocol.https import BrokerConnection, Brokers
from redoubt.protocol.jwe import Recipient, decrypt, public_jwk
from redoubt.protocol.messages import read_object
from redoubt.protocol.owner_api import (
    KeyRequest,
    RecordsRequest,
    WrapRequest,
    parse_contexts,
    parse_info,
    parse_list,
    parse_records,
    parse_secrets,
)
from redoubt.protocol.owner_client import OwnerClient
from redoubt.trust.owner_key import read_owner_key

_KEYS: Final = "/keys"


class BrokerProvider:
    """Primary keys at a broker; see :class:`redoubt.keys.provider.Provider` for the contract."""

    def __init__(self, client: OwnerClient) -> None:
        """Ask the broker through *client*, for each call anew: nothing is kept here."""
        self._client = client

    @property
    def assurances(self) -> frozenset[Assurance]:
        """The classes whose keys may exist at the broker, which is asked."""
        return self._all()[1]

    # --- the life of primary keys -------------------------------------------------------------------------------------
    def create(self, name: KeyName) -> KeyInfo:
        """Create a primary key with version 1; KeyExists, or AssuranceRefused."""
        return self._about("", KeyRequest(name=name), repeatable=False)

    def list(self) -> Sequence[KeyInfo]:
        """Return the facts of every key, ordered by name."""
        return self._all()[0]

    def describe(self, name: KeyName) -> KeyInfo:
        """Return the facts of one key; KeyUnknown if there is none."""
        return self._about("/describe", KeyRequest(name=name), repeatable=True)

    def rotate(self, name: KeyName) -> KeyInfo:
        """Add a version, which wraps from now on."""
        return self._about("/rotate", KeyRequest(name=name), repeatable=False)

    def set_state(self, name: KeyName, state: KeyState, *, version: int | None = None) -> KeyInfo:
        """Enable or disable one version, or all that are not destroyed."""
        return self._about("/state", KeyRequest(name=name, state=state, version=version), repeatable=True)

    def destroy(self, name: KeyName, *, version: int, even_if_referenced: bool = False) -> KeyInfo:
        """Destroy a version for ever; KeyReferenced while it still wraps data keys, unless told so."""
        request = KeyRequest(name=name, version=version, even_if_referenced=even_if_referenced)
        return self._about("/destroy", request, repeatable=True)

    # --- data keys ----------------------------------------------------------------------------------------------------
    def wrap(self, name: KeyName, keys: Sequence[DataKey]) -> Sequence[WrappedKey]:
        """Wrap *keys*, each in its own context, under the newest version."""
        _check_batch(keys)
        contexts = [WrapContext(it.dataset_id, it.id, it.purpose) for it in keys]
        with _provider_errors():
            records = parse_records(self._post("/wrap", WrapRequest(name=name, keys=keys).encode(), repeatable=False))
        _check_records(records, [(name, it) for it in contexts])
        return records

    def unwrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[DataKey]:
        """Unwrap, as an owner of the datasets that the records name; ProviderDenied for anybody else's."""
        _check_batch(wrapped)
        recipient = ec.generate_private_key(ec.SECP256R1())
        request = RecordsRequest(records=wrapped, recipient=Recipient.parse(public_jwk(recipient)))
        with _provider_errors():
            return parse_secrets(decrypt(self._post("/unwrap", request.encode(), repeatable=True), recipient), wrapped)

    def rewrap(self, wrapped: Sequence[WrappedKey]) -> Sequence[WrappedKey]:
        """Wrap again under the newest version of the same key; the data keys stay at the broker."""
        _check_batch(wrapped)
        with _provider_errors():
            request = RecordsRequest(records=wrapped)
            records = parse_records(self._post("/rewrap", request.encode(), repeatable=False))
        _check_records(records, [(it.key, it.context) for it in wrapped])
        if any(new.version < old.version for new, old in zip(records, wrapped, strict=True)):
            raise ProviderAnswerInvalid("the broker re-wrapped under an older version than was used before")
        return records

    def release(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget the references that these wraps hold."""
        self._tell("/release", wrapped)

    def settle(self, wrapped: Sequence[WrappedKey]) -> None:
        """Forget the references of the same keys and contexts by older versions."""
        self._tell("/settle", wrapped)

    def references(self, name: KeyName, *, version: int | None = None) -> Sequence[WrapContext]:
        """Return the contexts still wrapped by a version, or by any version, of the key."""
        with _provider_errors():
            request = KeyRequest(name=name, version=version)
            return parse_contexts(self._post("/references", request.encode(), repeatable=True))

    # --- inside -------------------------------------------------------------------------------------------------------
    def _all(self) -> tuple[Sequence[KeyInfo], frozenset[Assurance]]:
        with _provider_errors():
            return parse_list(self._client.call("GET", _KEYS, repeatable=True))

    def _about(self, call: str, request: KeyRequest, *, repeatable: bool) -> KeyInfo:
        with _provider_errors():
            info = parse_info(self._post(call, request.encode(), repeatable=repeatable))
        if info.name != request.name:
            raise ProviderAnswerInvalid(f"the broker speaks of {info.name}; {request.name} was asked for")
        return info

    def _tell(self, call: str, wrapped: Sequence[WrappedKey]) -> None:
        _check_batch(wrapped)
        with _provider_errors():
            answer = self._post(call, RecordsRequest(records=wrapped).encode(), repeatable=True)
            read_object(answer, what="the answer", limit=MAX_KEY_API_BYTES, members=frozenset())

    def _post(self, call: str, body: bytes, *, repeatable: bool) -> bytes:
        return self._client.call("POST", _KEYS + call, body, repeatable=repeatable)


def open_broker(settings: Mapping[str, str], place: ProviderPlace) -> BrokerProvider:
    """Return the provider that *settings* describe; the broker is not asked yet.

    Raises:
        ProviderSettingsInvalid: the address, the CA or the owner's key cannot be used.
    """
    ca = place.folder / settings["ca"]
    try:
        pem = read_regular_file(
            ca, limit_bytes=MAX_CA_FILE_BYTES, what="the broker's CA", refusal=ProviderSettingsInvalid
        )
        brokers = Brokers(urls=(settings["url"].rstrip("/"),), ca=pem)
        connection = BrokerConnection(brokers, patience=OWNER_RETRY_SECONDS)
        key = read_owner_key(place.folder / settings["owner_key"])
    except (NotFound, UsageError) as error:
        raise ProviderSettingsInvalid(error.what) from None
    return BrokerProvider(OwnerClient(connection, key=key, broker_id=settings.get("broker_id")))


@contextmanager
def _provider_errors() -> Iterator[None]:
    """Turn what a broker's client says into the errors of providers; those of keys are the broker's own words."""
    try:
        yield
    except NamespaceUnmapped as error:  # where the broker's own keys are, which the owner's workspace does not say
        raise ProviderDenied(
            f"the broker refuses: {error.what}", hint="Let its operator map the namespace, or use another one."
        ) from None
    except KeyError_:
        raise
    except BrokerUnreachable as error:
        raise ProviderUnreachable(error.what) from None
    except BrokerUntrusted as error:
        raise ProviderUntrusted(error.what, hint=error.next_step) from None
    except (BrokerMessage, SecretRefused) as error:
        raise ProviderAnswerInvalid(error.what) from None
    except RedoubtError as error:
        kind = ProviderUnreachable if type(error) is BrokerError else ProviderDenied
        raise kind(f"the broker refuses: [{error.code}] {error.what}", hint=error.next_step) from None


def _check_records(records: Sequence[WrappedKey], wanted: Sequence[tuple[KeyName, WrapContext]]) -> None:
    if [(it.key, it.context) for it in records] != list(wanted):
        raise ProviderAnswerInvalid("the broker's wrapped keys are of other keys or contexts than were asked for")


def _check_batch(batch: Sequence[object]) -> None:
    if len(batch) > MAX_KEY_BATCH:
        raise KeyError_(f"a batch of {len(batch)} keys is over the limit of {MAX_KEY_BATCH}")
