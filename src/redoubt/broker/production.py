"""A production broker from its configuration: everything that must hold before it serves.

It refuses to start where ``redoubt_dev`` can be imported. The table of verifiers has none for simulated evidence
either, so a broker without this check would refuse it too; with it, no mistake in packaging can change that.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from redoubt.broker.anchor import Anchor
from redoubt.broker.collateral import IntelCollateral
from redoubt.broker.config import BrokerConfig, CollateralSetting
from redoubt.broker.core import Settings
from redoubt.broker.location import parse_location
from redoubt.broker.pccs import Pccs
from redoubt.broker.rate import RateLimiter
from redoubt.broker.root import FileRoot, PassphraseRoot, ProviderRoot, RootSource
from redoubt.broker.server import RunningBroker
from redoubt.broker.store import SqlStore
from redoubt.broker.tpm_counter import TpmCounter
from redoubt.broker.verifiers import Collateral, production_verifiers
from redoubt.errors import BrokerConfigInvalid, BrokerRootKey, DevelopmentInstalled, ProviderSettingsInvalid
from redoubt.evidence.claims import Tee
from redoubt.evidence.collect.attester import Attester
from redoubt.evidence.collect.machine import attesters, consider
from redoubt.keys.private import read_private_file
from redoubt.keys.rootkey import PassphraseSource
from redoubt.keys.workspace import Workspace
from redoubt.limits import MAX_CERTIFICATE_BYTES, MAX_COLLATERAL_BYTES, MAX_PUBLIC_KEY_BYTES
from redoubt.pki.build import Certified

DEVELOPMENT_PACKAGE = "redoubt_dev"


def check_no_development() -> None:
    """Return where the package of simulated evidence cannot be imported; raises DevelopmentInstalled."""
    if importlib.util.find_spec(DEVELOPMENT_PACKAGE) is not None:
        raise DevelopmentInstalled(f"the package {DEVELOPMENT_PACKAGE} can be imported here")


def open_broker(config: BrokerConfig, *, workspace: Workspace | None) -> tuple[RunningBroker, SqlStore]:
    """Return a broker that is bound and ready to serve, and its store, which the caller closes.

    Raises:
        DevelopmentInstalled: simulated evidence could be verified here.
        StoreRolledBack, AnchorUnusable: the store is older than its counter, or there is no counter to tell.
        BrokerConfigInvalid, BrokerRootKey, BrokerError, StorageError: the configuration or the store cannot be used.
    """
    check_no_development()
    verifiers = production_verifiers(read_collateral(config.collateral))
    identity = Certified(
        _read(config.certificate, MAX_CERTIFICATE_BYTES),
        read_private_file(
            config.key, limit_bytes=MAX_CERTIFICATE_BYTES, what="the broker's TLS key", refusal=BrokerConfigInvalid
        ),
    )
    store = open_store(config, workspace=workspace)
    try:
        if (anchor := anchor_of(config, store)) is not None:
            anchor.advance()
        running = RunningBroker(
            store,
            address=config.listen,
            identity=identity,
            settings=Settings(
                name=config.name,
                bootstrap_owners=config.bootstrap_owners,
                certificate_seconds=config.certificate_seconds,
            ),
            verifiers=verifiers,
            limiter=RateLimiter(per_second=config.requests_per_second, burst=config.burst),
            attester=own_tee(),
        )
    except BaseException:
        store.close()
        raise
    return running, store


def open_store(config: BrokerConfig, *, workspace: Workspace | None) -> SqlStore:
    """Return the open store of *config*, which the caller closes; raises BrokerError, StorageError."""
    return SqlStore.open(parse_location(config.store), source=_root_source(config, workspace))


def anchor_of(config: BrokerConfig, store: SqlStore) -> Anchor | None:
    """Return the counter that *store* is anchored in, if *config* names one."""
    if config.anchor is None:
        return None
    return Anchor(audit=store.audit, counter=TpmCounter(config.anchor.tpm_index), name=config.anchor.name)


def own_tee() -> Attester | None:
    """Return the interface of the TEE that this process runs in, if any. A TPM alone is none: it isolates nothing."""
    found = consider([it for it in attesters() if Tee.TPM not in it.tees])
    return next((it.attester for it in found if it.finding.present), None)


def read_collateral(setting: CollateralSetting) -> Collateral:
    """Return what the files of *setting* hold; raises BrokerConfigInvalid."""
    intel = None
    if setting.pccs is not None:
        try:
            intel = IntelCollateral(setting.cache, fetch=Pccs(setting.pccs, ca_file=setting.pccs_ca).fetch)
        except ProviderSettingsInvalid as error:
            raise BrokerConfigInvalid(f"collateral: {error.what}") from None
    return Collateral(
        intel=intel,
        amd_certificates=tuple(_read(it, MAX_CERTIFICATE_BYTES) for it in setting.amd_certificates),
        amd_revocations=_optional(setting.amd_revocations, MAX_COLLATERAL_BYTES),
        tpm_keys=_optional(setting.tpm_keys, MAX_PUBLIC_KEY_BYTES),
    )


def _root_source(config: BrokerConfig, workspace: Workspace | None) -> RootSource:
    setting = config.root_key
    if setting.file is not None:
        return FileRoot(setting.file)
    if setting.passphrase_file is not None:
        return PassphraseRoot(PassphraseSource(file=setting.passphrase_file))
    if workspace is None:
        raise BrokerRootKey("the root key is under a workspace's key, and no workspace was given")
    name = workspace.resolve(setting.workspace_key)
    return ProviderRoot(workspace.provider_for(name), name)


def _optional(path: Path | None, limit: int) -> bytes | None:
    return None if path is None else _read(path, limit)


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise BrokerConfigInvalid(f"{path} cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise BrokerConfigInvalid(f"{path} is longer than {limit} bytes")
    return content
