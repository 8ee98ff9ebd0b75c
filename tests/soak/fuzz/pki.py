"""Targets: the files from which certificates are rotated, and keys of enclaves that users bring."""

from __future__ import annotations

from tests.pki import test_enclave_and_secrets, test_internal
from tests.soak.fuzz.engine import Target

from redoubt.errors import AuthorityInvalid, CertificatesIncomplete, EnclaveKeyInvalid
from redoubt.pki.enclave import verify_enclave_key
from redoubt.pki.internal import InternalAuthority, ServerIdentity


def _authority(data: bytes) -> object:
    read = InternalAuthority.from_pem(data)
    assert InternalAuthority.from_pem(read.to_pem()).to_pem() == read.to_pem()
    return read.bundle()


def _identity(data: bytes) -> object:
    read = ServerIdentity.from_pem(data)
    return read.name, read.hosts


def targets() -> tuple[Target, ...]:
    """Return the targets of this room."""
    authorities = (test_internal.FIRST.to_pem(), test_internal.SECOND.to_pem())
    servers = tuple(test_internal.issued(it).to_pem() for it in (test_internal.FIRST, test_internal.SECOND))
    return (
        Target("internal-authority", _authority, authorities, (AuthorityInvalid,), slow=True),
        Target("server-identity", _identity, servers, (CertificatesIncomplete,), slow=True),
        Target("enclave-key", verify_enclave_key, (test_enclave_and_secrets.KEY,), (EnclaveKeyInvalid,), slow=True),
    )
