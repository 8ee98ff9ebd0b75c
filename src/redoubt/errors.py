"""The one exception tree of Redoubt.

Every error a user can meet is a class here, with a stable ``code`` (dotted, lower case, never reused), an exit
status, a standing explanation (``cause``) and a next step. ``docs/errors.md`` is generated from this tree and compared
with it by a test; the Java classes in ``jvm/`` print the same codes in square brackets.

Families are cut by who can act on them::

    RedoubtError
    ├── UsageError            the caller: a wrong argument, a missing file
    ├── WorkspaceError        the operator: the workspace or its configuration
    ├── KeyError_             the key owner: names, versions, states, contexts
    ├── SealedError           the data: what is not authentic, not complete or not what was expected
    ├── LegacyError           files and keys of BigDL PPML, which are read and never written
    ├── StorageError          the file system or object store
    ├── EndpointError         the key endpoint between an engine and its agent
    ├── AttestError           the attested machine: its TEE gave no evidence
    ├── TeeError              whoever puts a program into a TEE: manifests of library operating systems, sizes
    ├── PkiError              the peer: a certificate, or a request for one, that is not a role's
    ├── ClusterError          a Spark cluster: a process of it, or what an application asks of one
    ├── SparkError            Spark: what it lacks, or what it cannot do with sealed data
    ├── EvidenceError         the attester: its evidence, or the platform it runs on
    ├── TokenError            the issuer of an attestation result, or whoever configured its keys
    ├── ManifestError         the owners: their manifest, its signatures and its history
    ├── AppraisalError        the owners or the attester: what was proved is not what the manifest allows
    ├── EarError              the relying party: an attestation result that is authentic, but not good enough
    ├── BrokerError           the broker, and who speaks to it: attesters, owners, operators
    ├── ReceiptError          whoever relies on a receipt: what it says is not what was proved
    └── WorkloadError         the runnable programs

Rules: text names what failed and never contains key material or cell values; ``verify`` functions raise one of these
or return the verified value, never a bool.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar
from uuid import UUID


class RedoubtWarning(UserWarning):
    """Something is weaker than the default, by the caller's explicit choice."""


class ExitStatus(IntEnum):
    """Exit statuses of the ``redoubt`` command (``docs/cli.md``)."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    REFUSED = 3
    KEY = 4
    STORAGE = 5
    CONFLICT = 6
    ENVIRONMENT = 7
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class RedoubtError(Exception):
    """Base of every error that Redoubt raises on purpose.

    ``str(error)`` is one line of what failed; :meth:`explain` adds why it can happen and what to do next: *why* and
    *hint* where the raiser knows them, else the class's standing ``cause`` and ``next_step``.
    """

    code: ClassVar[str] = "redoubt"
    exit_status: ClassVar[ExitStatus] = ExitStatus.INTERNAL
    cause: ClassVar[str] = "An error of Redoubt."
    next_step: ClassVar[str] = "Report it with the command you ran."

    def __init__(self, what: str, *, hint: str | None = None, why: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.why = self.cause if why is None else why

    def __str__(self) -> str:
        return f"[{self.code}] {self.what}"

    def __reduce__(self) -> tuple[object, ...]:
        # Spark pickles exceptions of its Python workers; keyword-only arguments need help to survive that.
        return (_rebuild, (type(self), self.what, self.hint, self.why))

    def explain(self) -> str:
        """Return what failed, why that happens and what to do next, as three lines of text."""
        # A name with a line end, in what failed, must not forge the lines that follow.
        failed = str(self).replace("\n", "\\n")
        return f"{failed}\nWhy: {self.why}\nNext: {self.hint or self.next_step}"


def _rebuild(cls: type[RedoubtError], what: str, hint: str | None, why: str) -> RedoubtError:
    return cls(what, hint=hint, why=why)


# --- usage -----------------------------------------------------------------------------------------------------------
class UsageError(RedoubtError):
    """The caller asked for something that cannot be done as asked."""

    code = "usage.invalid"
    exit_status = ExitStatus.USAGE
    cause = "An argument is missing, malformed or contradicts another one."
    next_step = "See `redoubt COMMAND --help` for the arguments and an example."


class NotFound(UsageError):
    """A file, folder or pattern names nothing."""

    code = "usage.not_found"
    cause = "No file, folder or dataset exists under the given name."
    next_step = "Check the spelling and the working directory."


class AlreadyExists(UsageError):
    """The destination exists and would be overwritten."""

    code = "usage.exists"
    cause = "The destination exists; Redoubt overwrites only when told to."
    next_step = "Choose another destination, or pass --force (files), or --overwrite or --append (datasets)."


class NotADataset(UsageError):
    """One sealed file was named where a dataset, which is a folder, belongs."""

    code = "usage.not_dataset"
    cause = "A sealed file stands for itself; a sealed dataset is a folder with commit records."
    next_step = (
        "Read the file with a file reader such as `spark.read.csv(PATH)`, or give the Data Source the option `loose`, "
        "or `redoubt unseal` it; to write a dataset, name a folder."
    )


# --- workspace -------------------------------------------------------------------------------------------------------
class WorkspaceError(RedoubtError):
    """The workspace cannot be used."""

    code = "workspace.invalid"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The workspace's configuration is not what this version of Redoubt writes."
    next_step = "Run `redoubt doctor`; restore `.redoubt/` from your backup if it was edited."


class WorkspaceMissing(WorkspaceError):
    """No ``.redoubt`` folder was found from here upwards."""

    code = "workspace.missing"
    cause = "Keys live in a workspace, and none was found here or in a parent folder."
    next_step = "Run `redoubt init` here, or pass --workspace DIR."


class WorkspaceExists(WorkspaceError):
    """``redoubt init`` was run where a workspace already is."""

    code = "workspace.exists"
    exit_status = ExitStatus.USAGE
    cause = "A second init would replace the keys that existing data needs."
    next_step = "Use the workspace as it is, or init another folder."


class RootKeyError(WorkspaceError):
    """The root key cannot be used: missing, wrong, or readable by others."""

    code = "workspace.root_key"
    cause = (
        "The root key file must exist, be readable by its owner only (0600) and be the one the keystore was made with."
    )
    next_step = "Restore the key file and `chmod 600` it."


class PassphraseError(RootKeyError):
    """The workspace's passphrase is wrong, or could not be read."""

    code = "workspace.passphrase"
    cause = "The passphrase is not the one that the workspace was made with, or none could be read."
    next_step = "Give the right one: at the prompt, with --passphrase-file FILE (0600) or with --passphrase-fd N."


class KeystoreDamaged(WorkspaceError):
    """The keystore is not what its writers leave: damaged, edited, or mixed with another one."""

    code = "workspace.keystore"
    exit_status = ExitStatus.REFUSED
    cause = "`.redoubt/keystore.sqlite` was damaged or edited: an entry does not authenticate, or is impossible."
    next_step = "Restore `.redoubt/` from a copy you trust; without it the data it protects cannot be read."


class ProviderSettingsInvalid(WorkspaceError):
    """A provider's settings, or a file that they name, cannot be used."""

    code = "workspace.provider"
    cause = "A setting of the namespace in `config.toml` is missing, malformed or unsafe, or names an unusable file."
    next_step = (
        "Run `redoubt keys map NAMESPACE PROVIDER --set NAME=VALUE` again; docs/providers.md lists the settings."
    )


class EnvironmentIncomplete(WorkspaceError):
    """Something that every use of Redoubt needs is missing on this machine."""

    code = "workspace.environment"
    cause = "The installation lacks a library or tool."
    next_step = "Install what `redoubt doctor` lists as MISSING."


# --- keys ------------------------------------------------------------------------------------------------------------
class KeyError_(RedoubtError):  # noqa: N801  (KeyError is a builtin)
    """A primary key or data key cannot be used as asked."""

    code = "key.invalid"
    exit_status = ExitStatus.KEY
    cause = "A key name or a wrapped key is malformed."
    next_step = "Names look like `default`, `default.dev` or `key:main/default.dev`."


class KeyUnknown(KeyError_):
    """No such primary key or version."""

    code = "key.unknown"
    cause = "The provider that the key's namespace is mapped to holds no such key or version."
    next_step = "List keys with `redoubt keys list`; create one with `redoubt keys create NAME`."


class KeyExists(KeyError_):
    """A primary key of that name exists."""

    code = "key.exists"
    cause = "Key names are never reused: data may still be wrapped under the old one."
    next_step = "Choose another name, or rotate the existing key with `redoubt keys rotate NAME`."


class KeyDisabled(KeyError_):
    """The primary key (version) is disabled."""

    code = "key.disabled"
    cause = "The key's owner disabled it."
    next_step = "Enable it with `redoubt keys enable NAME` if you own it."


class KeyDestroyed(KeyError_):
    """The primary key version was destroyed; what it wrapped is gone for ever."""

    code = "key.destroyed"
    cause = "The key version was destroyed, which cannot be undone."
    next_step = "Use data that was re-wrapped to a newer version before the destruction."


class KeyReferenced(KeyError_):
    """A key version still wraps data keys."""

    code = "key.referenced"
    cause = "Destroying a key version makes every data key that it still wraps unreadable."
    next_step = "Run `redoubt rewrap` on the datasets that `redoubt keys references NAME` lists, then try again."


class WrapRefused(KeyError_):
    """A wrapped key does not belong to this dataset, purpose, key or version."""

    code = "key.context"
    exit_status = ExitStatus.REFUSED
    cause = (
        "Most likely it was wrapped in another workspace, by a key of the same name. Otherwise it was changed, or made "
        "for another dataset, purpose, key name or version."
    )
    next_step = (
        "Pass --workspace DIR of the workspace that wrote the data. If this is it, restore the key file from the "
        "dataset it belongs to."
    )


class NamespaceUnmapped(KeyError_):
    """The workspace maps the key's namespace to no provider."""

    code = "key.namespace"
    cause = "Key names resolve only through the namespaces that your workspace maps."
    next_step = "Add the namespace to `.redoubt/config.toml`, or use the workspace that owns it."


class WrapLimitReached(KeyError_):
    """A key version has wrapped as many data keys as is safe."""

    code = "key.wrap_limit"
    cause = "AES-GCM with random nonces is safe for 2^32 wraps under one key version."
    next_step = "Run `redoubt keys rotate NAME`; existing data stays readable."


class AssuranceRefused(KeyError_):
    """A key of this assurance class cannot live in this provider."""

    code = "key.assurance"
    exit_status = ExitStatus.REFUSED
    cause = "Hardware-class keys never exist in a local or development provider, and a key's class never changes."
    next_step = "Create the key with class dev, or map its namespace to a provider that may hold hardware keys."


class ProviderUnreachable(KeyError_):
    """The token or key service does not answer."""

    code = "key.provider_unreachable"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The token is not in its slot, or the service is down, sealed, overloaded, or not reachable from here."
    next_step = "Run `redoubt doctor`, restore the provider, and run the command again."


class ProviderUntrusted(KeyError_):
    """The key service does not prove that it is the configured one."""

    code = "key.provider_untrusted"
    exit_status = ExitStatus.REFUSED
    cause = (
        "Its certificate is expired, for another host, or not issued by the configured CA; or it redirects elsewhere."
    )
    next_step = "Check `url` and `ca` of the namespace with whoever runs the service; do not weaken either."


class ProviderDenied(KeyError_):
    """The token or key service refuses the credential, or what it asks for."""

    code = "key.provider_denied"
    exit_status = ExitStatus.REFUSED
    cause = "The credential is wrong, expired or revoked, or its policy does not allow the operation."
    next_step = "Renew the credential file, or let the provider's operator grant what docs/providers.md lists."


class ProviderPinRefused(ProviderDenied):
    """The token refuses the PIN, or would lock it at the next mistake."""

    code = "key.provider_pin"
    cause = "The PIN is wrong, locked, expired or not set; tokens lock a PIN after a few mistakes, so it is tried once."
    next_step = "Check the PIN file; let the security officer reset the PIN if it is locked."


class ProviderAnswerInvalid(KeyError_):
    """The answer of a token or key service is not the protocol's, or speaks of another key."""

    code = "key.provider_answer"
    exit_status = ExitStatus.REFUSED
    cause = (
        "The answer is malformed, too large, or names another key than the one that was asked for; none of it was used."
    )
    next_step = "Check that `url` names the key service itself and not a proxy's page, and which version it runs."


class ProviderKeyMissing(KeyError_):
    """The token or key service no longer has the key."""

    code = "key.provider_key"
    cause = "The key was deleted or disabled there, or the namespace is mapped to another token or service than it was."
    next_step = "Restore or enable the key there, or map the namespace to where it lives; what it wrapped needs it."


# --- sealed data -----------------------------------------------------------------------------------------------------
class SealedError(RedoubtError):
    """Sealed data is not what it must be; nothing of it was released."""

    code = "sealed.invalid"
    exit_status = ExitStatus.REFUSED
    cause = "The sealed data is not authentic, not complete, or not what the reader expected."
    next_step = "Run `redoubt verify PATH` to see every fault; restore the data from a copy you trust."


class NotSealed(SealedError):
    """The file is not a sealed file."""

    code = "sealed.not_sealed"
    cause = "The file does not start with the mark of a sealed file; it may be plaintext, or another format."
    next_step = "Seal it with `redoubt seal SRC DST`, or read it as plain data."


class FormatUnknown(SealedError):
    """The sealed file was written in a format version that this reader does not know."""

    code = "sealed.version"
    cause = "The format version is newer than this reader, or the header was edited."
    next_step = "Update Redoubt; if it is current, the file was changed."


class HeaderInvalid(SealedError):
    """A header or preamble is not in the one canonical encoding."""

    code = "sealed.header"
    cause = "The header was edited or damaged: it is not the canonical encoding of known fields."
    next_step = "Restore the file from a copy you trust."


class IdentityMismatch(SealedError):
    """A sealed file is authentic perhaps, but another one than the reader expected."""

    code = "sealed.identity"
    cause = "The file belongs to another dataset, commit, part or purpose: it was moved, swapped or rolled back."
    next_step = "Put the right file back in its place."


class CommitmentMismatch(SealedError):
    """The key commitment fails: wrong data key, or header or prefix was changed."""

    code = "sealed.commitment"
    cause = "The body was not encrypted under this data key with exactly this header."
    next_step = "Check that the key is the right one; otherwise header or prefix were changed: restore the file."


class ChunkTampered(SealedError):
    """A chunk fails authentication."""

    code = "sealed.chunk"
    cause = "Bytes of the body were changed, or chunks were moved."
    next_step = "Restore the file from a copy you trust."


class Truncated(SealedError):
    """The body ends too early, or has bytes after its end."""

    code = "sealed.truncated"
    cause = "The file was cut, extended, or not written to its end."
    next_step = "Restore the file from a copy you trust, or write it again."


class SlotDamaged(SealedError):
    """A key slot of a standalone file is neither empty nor intact."""

    code = "sealed.slot"
    cause = "A re-wrap was interrupted by a power failure, or the key slot was edited."
    next_step = "Run `redoubt rewrap FILE`: it repairs a damaged slot from the intact one."


class CommitInvalid(SealedError):
    """A commit record is malformed, or contradicts itself."""

    code = "sealed.commit"
    cause = "The commit record is not what a Redoubt writer writes, or its chain is broken."
    next_step = "Restore `_commits/` from a copy you trust."


class NoCommit(SealedError):
    """The folder holds no commit record."""

    code = "sealed.no_commit"
    cause = "The folder is no sealed dataset, its first write did not finish, or its commit records were removed."
    next_step = "Write it again; for parts that a codec wrote, run `redoubt seal --adopt DIR` or read with loose."


class PartMissing(SealedError):
    """A part that the commit lists is not there."""

    code = "sealed.part_missing"
    cause = "A part was removed after the commit."
    next_step = "Restore the part from a copy you trust."


class PartChanged(SealedError):
    """A part is not the one that the commit lists: length, prefix or digest differ."""

    code = "sealed.part_changed"
    cause = "A part was replaced, truncated, extended or rewritten after the commit."
    next_step = "Restore the part from a copy you trust."


class PartUnlisted(SealedError):
    """A file of a sealed table is not listed in its commit."""

    code = "sealed.part_unlisted"
    cause = "A file was added beside the committed parts, or belongs to an older or unfinished write."
    next_step = "Remove it (`redoubt gc PATH`), or adopt it with `redoubt seal --adopt DIR` if it is yours."


class CommitUnexpected(SealedError):
    """The dataset's head is another commit than the reader pinned."""

    code = "sealed.commit_unexpected"
    cause = "The dataset was rolled back, or written after the expected commit."
    next_step = "Compare with the digest that the writer published; pass the current digest if the change is wanted."


class CommitConflict(SealedError):
    """Another writer committed first."""

    code = "sealed.conflict"
    exit_status = ExitStatus.CONFLICT
    cause = "Two writers changed the dataset at once; exactly one won and nothing is mixed."
    next_step = "Run the command again: it starts from the new state."


class PlaintextRefused(SealedError):
    """Plaintext was found, or asked for, where sealed data belongs."""

    code = "sealed.plaintext"
    cause = "A plaintext file stands among sealed parts, or data would be written in clear."
    next_step = "Remove the plaintext file; write in a Redoubt session, or grant it: redoubt.plaintext=allow."


class KeyFileMissing(SealedError):
    """No wrapped data key is found beside the data."""

    code = "sealed.key_file"
    cause = "The dataset's `_keys/` folder lacks the wrapped data key that a part or commit names."
    next_step = "Restore `_keys/` from a copy: without it the data cannot be read."


# --- legacy files -----------------------------------------------------------------------------------------------------
class LegacyError(RedoubtError):
    """A file of BigDL PPML cannot be read."""

    code = "legacy.invalid"
    exit_status = ExitStatus.REFUSED
    cause = "It is none, or not authentic, or its key does not fit (`docs/compat.md`)."
    next_step = "Check the file against its original, and the keys that it was encrypted with."


class LegacyFormatUnknown(LegacyError):
    """The file has none of the layouts of BigDL PPML, or not the one that was named."""

    code = "legacy.format"
    cause = "Its header is not one of gen-A, gen-B or Fernet, was changed, or the file was never encrypted."
    next_step = "Name the layout with --format. Native CBC files have no header, so that they always need it."


class LegacyTruncated(LegacyError):
    """The file ends too early."""

    code = "legacy.truncated"
    cause = "Bytes are missing: a header, a block of sixteen bytes or the MAC at the end is not whole."
    next_step = "Copy the file again from where it was written."


class LegacyTampered(LegacyError):
    """The file's MAC is not that of its content."""

    code = "legacy.mac"
    cause = "The file was changed or cut short, or its data key is another: the MAC cannot tell these apart."
    next_step = "Take the file from another copy. If every file of a folder is refused, the data key is another one."


class LegacyKeyInvalid(LegacyError):
    """A key file or a key of BigDL PPML is malformed."""

    code = "legacy.key"
    exit_status = ExitStatus.KEY
    cause = "Key files hold one line of text, whose form depends on the key management service that made it."
    next_step = "Give the file as it was written, and the service that it belongs to."


class LegacyKeyWrong(LegacyError):
    """The key is not the one that the file, or the wrapped data key, was made with."""

    code = "legacy.wrong_key"
    exit_status = ExitStatus.KEY
    cause = "A wrapped data key opens under one primary key only, and a file names the data key that it needs."
    next_step = "Give the primary key and the data key that belong to this data."


class LegacyAmbiguous(LegacyError):
    """The file can be read in two ways, and nothing in it says which one is right."""

    code = "legacy.ambiguous"
    cause = "Writers of gen-A used AES-128 or AES-256; by chance the padding fits both in one file of 256."
    next_step = "Say which with --aes-bits: other files of the same writer have it, too."


class LegacyUnauthenticated(LegacyError):
    """The file's content is not protected against changes."""

    code = "legacy.unauthenticated"
    cause = "Its layout has no MAC, or one whose key stands in the file: whoever could write it could change it."
    next_step = "If you trust the place it was kept in, repeat with --accept-unauthenticated."


class LegacyUnsupported(LegacyError):
    """Something of BigDL PPML is not carried over, for a reason."""

    code = "legacy.unsupported"
    exit_status = ExitStatus.USAGE
    cause = "It needs a service that is not trusted, or what it does is refused here (`docs/compat.md`)."
    next_step = "The text says what to use instead."


# --- storage ---------------------------------------------------------------------------------------------------------
class StorageError(RedoubtError):
    """The file system or object store failed."""

    code = "storage.failed"
    exit_status = ExitStatus.STORAGE
    cause = "The file system or object store refused or failed an operation."
    next_step = "Check free space, permissions, credentials and the network, then run the command again."


class StorageUnsupported(StorageError):
    """The location's kind is not supported, or its library is not installed."""

    code = "storage.unsupported"
    cause = "The location needs a library that is not installed, or a store without a needed operation."
    next_step = 'Install the extra: `pip install "redoubt[s3]"`, or use a local path.'


# --- key endpoint ----------------------------------------------------------------------------------------------------
class EndpointError(RedoubtError):
    """The key endpoint cannot serve a request."""

    code = "endpoint.failed"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The key endpoint of this job answered with an error, or not in its protocol."
    next_step = "Look at the job's log for the endpoint's own message."


class EndpointUnreachable(EndpointError):
    """No key endpoint answers."""

    code = "endpoint.unreachable"
    cause = "The job was started without `redoubt.spark.session`, or its driver has ended."
    next_step = "Start the job through Redoubt, so that a key endpoint runs beside it."


class EndpointRefused(EndpointError):
    """The key endpoint refuses this peer or request."""

    code = "endpoint.refused"
    exit_status = ExitStatus.REFUSED
    cause = "The peer's user, certificate or token is not this job's."
    next_step = "Run the program as the user that started the endpoint."


# --- certificates ----------------------------------------------------------------------------------------------------
class PkiError(RedoubtError):
    """A certificate, a request for one, or a name in one was refused."""

    code = "pki.failed"
    exit_status = ExitStatus.REFUSED
    cause = "Certificates of a trust domain are issued by the broker to attested roles, and to nobody else."
    next_step = "Attest the role with the broker of its trust domain."


class SpiffeInvalid(PkiError):
    """A name is not the SPIFFE name of a role."""

    code = "pki.name"
    cause = "Names are spiffe://DOMAIN/ROLE/ID, of labels and 32 hexadecimal digits."
    next_step = "Use the names of trust domain and role as the manifest has them."


class RequestRefused(PkiError):
    """A request for a certificate is not one that a role makes."""

    code = "pki.request"
    cause = "It is malformed, names somebody, was made for another attestation result, or its key did not sign it."
    next_step = "Make a new key and request for each attestation; names are the broker's to give."


class PeerRefused(PkiError):
    """A peer is not a role of the expected trust domain."""

    code = "pki.peer"
    cause = "Its certificate is of another CA, domain, role or form, or has expired."
    next_step = "Check that both sides attested with the broker of one trust domain; look at its audit log."


class AuthorityInvalid(PkiError):
    """The file of an internal CA is not one."""

    code = "pki.authority"
    cause = "The file was changed, cut short, or put together from several CAs."
    next_step = "Restore ca/authority.pem from a backup, or cut clients off: `redoubt certs rotate --compromised`."


class RotationRefused(PkiError):
    """Certificates cannot be rotated as asked, since some client could not reach its server."""

    code = "pki.rotation"
    cause = "A CA is replaced once an overlap, and no certificate outlives its CA."
    next_step = "Wait for the end of the overlap, or cut everything old off: `redoubt certs rotate --compromised`."


class CertificatesIncomplete(PkiError):
    """A folder of certificates lacks a file, or holds one that is not what its name says."""

    code = "pki.folder"
    cause = "The folder is not one that `redoubt certs generate` made, or somebody changed it."
    next_step = "`redoubt certs rotate DIR` writes all that follows from the CA anew; restore the rest from a backup."


class EnclaveKeyInvalid(PkiError):
    """A key cannot sign SGX enclaves."""

    code = "pki.enclave_key"
    cause = "SGX takes RSA keys of 3072 bits with the public exponent 3, and nothing else."
    next_step = "Give the PEM file of such a key, or let `redoubt certs generate` make one."


# --- spark -----------------------------------------------------------------------------------------------------------
class SparkError(RedoubtError):
    """Spark cannot do this with sealed data."""

    code = "spark.failed"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "Spark or its Java runtime is not set up as sealed data needs it."
    next_step = "Run `redoubt doctor`."


class JavaMissing(SparkError):
    """No usable Java runtime."""

    code = "spark.java"
    cause = "Spark 4 needs a Java runtime, version 17 or newer, with the module jdk.incubator.vector."
    next_step = "Install one (Debian: openjdk-17-jre-headless) or set JAVA_HOME."


class JarMissing(SparkError):
    """Redoubt's own jar is not in the package."""

    code = "spark.jar"
    cause = "The package was installed from source without building `jvm/`."
    next_step = "Run `make jar` in the source tree, or install the wheel."


class OptionRefused(SparkError):
    """A reader or writer option is not supported on sealed data."""

    code = "spark.option"
    exit_status = ExitStatus.USAGE
    cause = "The option is unknown, contradicts another one, or cannot be honoured exactly."
    next_step = "See docs/spark.md for the options of the sealed Data Source."


class ModeRefused(SparkError):
    """A write mode that the Data Source cannot offer."""

    code = "spark.mode"
    exit_status = ExitStatus.USAGE
    cause = "Spark 4.3 passes only append and overwrite to Python Data Sources, and no partitionBy."
    next_step = "Use `redoubt.spark.write(df, path, mode=...)`, which offers every mode."


class RecordMalformed(SparkError):
    """A record cannot be parsed and the mode is FAILFAST."""

    code = "spark.record"
    exit_status = ExitStatus.REFUSED
    cause = "A record does not fit the schema, and mode FAILFAST was asked for."
    next_step = "Read with mode PERMISSIVE and a corrupt-record column to see the record."


# --- clusters --------------------------------------------------------------------------------------------------------
class ClusterError(RedoubtError):
    """A process of the cluster did not start, or has ended."""

    code = "cluster.failed"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "It was refused by the broker, or its JVM failed; its log says why."
    next_step = "Read `redoubt cluster logs ROLE`; a refusal is explained by `redoubt explain ID`."


class RoleMissing(ClusterError):
    """A program that shall be part of a cluster has no role in a trust domain."""

    code = "cluster.role"
    cause = "Its agent was not asked to have it certified, so it has no certificate for the cluster."
    next_step = "Start it with `redoubt agent exec --role DOMAIN/driver -- CMD`."


class ClusterMissing(ClusterError):
    """There is no cluster of this name."""

    code = "cluster.missing"
    exit_status = ExitStatus.USAGE
    cause = "None was started in this workspace, or it was taken down."
    next_step = "Start one with `redoubt cluster up`."


class ClusterExists(ClusterError):
    """There is a cluster of this name already."""

    code = "cluster.exists"
    exit_status = ExitStatus.CONFLICT
    cause = "It runs, or did not end cleanly and left its folder."
    next_step = "Look at it with `redoubt cluster status`; end it with `redoubt cluster down`."


class ClusterRefused(ClusterError):
    """What an application asked of an executor is refused."""

    code = "cluster.refused"
    exit_status = ExitStatus.REFUSED
    cause = "A command line, class, option or setting of an executor would run code that nothing measures."
    next_step = "Leave the option out; give code with the program, as its jars and Python files."


# --- evidence --------------------------------------------------------------------------------------------------------
class EvidenceError(RedoubtError):
    """Evidence does not prove what it claims; nothing of it was used."""

    code = "evidence.invalid"
    exit_status = ExitStatus.REFUSED
    cause = "The evidence is not authentic, not fresh, or not of the platform it names."
    next_step = "Collect new evidence on the attested machine; see docs/evidence.md for what is verified."


class EvidenceMalformed(EvidenceError):
    """Evidence is not in its format."""

    code = "evidence.malformed"
    cause = "The bytes are not this kind of evidence: wrong length, unknown version, reserved or contradictory fields."
    next_step = "Check that the kind of TEE is right and that the file is the raw evidence, not a copy in another form."


class EvidenceSignature(EvidenceError):
    """A signature over evidence fails."""

    code = "evidence.signature"
    cause = "The evidence was changed after it was signed, or was signed by another key than the one presented."
    next_step = "Collect new evidence on the attested machine."


class EvidenceChain(EvidenceError):
    """The signing key does not lead to a pinned vendor root."""

    code = "evidence.chain"
    cause = "A certificate is not issued by the vendor's pinned root, or belongs to another chip, product or purpose."
    next_step = "Fetch the certificates of this very chip from the vendor (AMD KDS, Intel PCS)."


class EvidenceExpired(EvidenceError):
    """A certificate, revocation list or other collateral is expired."""

    code = "evidence.expired"
    cause = "Collateral or a certificate has passed its end of validity at the verifier's time."
    next_step = "Refresh the collateral; if it is current, check the verifier's clock."


class EvidenceNotYetValid(EvidenceError):
    """A certificate, revocation list or other collateral is not valid yet."""

    code = "evidence.not_yet_valid"
    cause = "Collateral or a certificate begins to be valid after the verifier's time."
    next_step = "Check the verifier's clock; otherwise use collateral of that time."


class EvidenceDebug(EvidenceError):
    """A debug enclave or debug TD."""

    code = "evidence.debug"
    cause = "The host can read the memory of a debug enclave or debug TD; such evidence is refused always."
    next_step = "Build and sign the enclave or start the TD without its debug attribute."


class EvidenceTcb(EvidenceError):
    """The platform's TCB cannot be accepted: no level matches, or its configuration is unsafe."""

    code = "evidence.tcb"
    cause = "The platform's security version is below every level that the vendor lists, or a safety attribute is off."
    next_step = "Update firmware and microcode of the machine, or start the guest with the vendor's safe attributes."


class EvidenceRevoked(EvidenceError):
    """The vendor revoked a key or TCB in the chain."""

    code = "evidence.revoked"
    cause = "A certificate of the chain is on the vendor's revocation list, or the TCB level is revoked."
    next_step = "Retire the machine or re-provision its key with the vendor."


class EvidenceUnprovable(EvidenceError):
    """Evidence lacks what a proof needs."""

    code = "evidence.unprovable"
    cause = "The certificates or fields that would prove the evidence are absent, so it may be true but shows nothing."
    next_step = "Send the missing part: for SGX and TDX a quote with its PCK chain, for SNP the VCEK or VLEK chain."


class EvidenceCollateral(EvidenceError):
    """Collateral is missing, malformed, not authentic, or of another platform."""

    code = "evidence.collateral"
    cause = "The vendor's collateral does not parse, is not signed by the vendor, or belongs to another platform."
    next_step = "Fetch the collateral again from the vendor or from your PCCS."


class CollateralUnavailable(EvidenceError):
    """No usable collateral: the vendor does not answer and the grace time is over."""

    code = "evidence.collateral_unavailable"
    cause = "Collateral could not be fetched, and the cached one is missing or older than the grace policy allows."
    next_step = "Restore the connection to the vendor or PCCS; the grace time is a setting of the operator."


class EvidenceUnbound(EvidenceError):
    """Evidence is authentic, but bound to something else than expected."""

    code = "evidence.binding"
    cause = "The report data does not carry the expected key and nonce: evidence of another session, key or machine."
    next_step = "Attest again in this session; if it repeats, someone relays evidence."


class EvidenceNonce(EvidenceError):
    """The nonce in the evidence is not the verifier's."""

    code = "evidence.nonce"
    cause = "The evidence was made for another challenge: replayed, or with a nonce that the attester chose."
    next_step = "Ask for a nonce and attest again."


class PcrMissing(EvidenceError):
    """A TPM quote does not cover a PCR that it must, or its PCR values are not the quoted ones."""

    code = "evidence.pcr_missing"
    cause = "The quote's selection lacks a required PCR or bank: a value outside the selection is proved by nothing."
    next_step = "Quote all PCRs that the policy names, in the bank that it names."


class LogMismatch(EvidenceError):
    """An event log does not replay to the quoted registers."""

    code = "evidence.log_mismatch"
    cause = "Events were added, removed, changed or reordered, or the log is of another boot."
    next_step = "Collect log and quote together, from the same boot."


# --- attestation results of others -----------------------------------------------------------------------------------
class TokenError(RedoubtError):
    """An attestation result (MAA, Intel Trust Authority, EAR) cannot be accepted."""

    code = "token.invalid"
    exit_status = ExitStatus.REFUSED
    cause = "The token is not an authentic, current result of an allowed issuer."
    next_step = "Ask the issuer for a new token; check the issuers and keys that are configured."


class TokenMalformed(TokenError):
    """A token is not a compact JWS with the claims of its profile."""

    code = "token.malformed"
    cause = "The bytes are not a compact JWT, or a claim of its profile is missing or of the wrong type."
    next_step = "Pass the token as the issuer returned it, and name its right kind."


class TokenSignature(TokenError):
    """A token's signature fails."""

    code = "token.signature"
    cause = "The token was changed, or signed by another key than the issuer's."
    next_step = "Ask the issuer for a new token."


class TokenAlgorithm(TokenError):
    """A token's algorithm is not allowed for its issuer or key."""

    code = "token.algorithm"
    cause = "Only asymmetric algorithms from the issuer's list are accepted; `none` and HMAC never are."
    next_step = "Let the issuer sign with an algorithm that docs/evidence.md lists."


class TokenIssuer(TokenError):
    """A token's issuer is not allowed."""

    code = "token.issuer"
    cause = "The issuer is not on the configured list, or the token names none."
    next_step = "Add the issuer to the list if you trust it."


class TokenKeyUnknown(TokenError):
    """A token's key is not among the issuer's."""

    code = "token.key_unknown"
    cause = "No configured key of the issuer has the token's key id."
    next_step = "Refresh the issuer's keys; keys that the token itself carries are never used."


class TokenExpired(TokenError):
    """A token is expired."""

    code = "token.expired"
    cause = "The token's end of validity has passed at the verifier's time."
    next_step = "Ask the issuer for a new token."


class TokenNotYetValid(TokenError):
    """A token is not valid yet."""

    code = "token.not_yet_valid"
    cause = "The token was issued, or begins to be valid, after the verifier's time."
    next_step = "Check the clocks of verifier and issuer."


class TokenHeader(TokenError):
    """A token's header carries something that would steer its own verification."""

    code = "token.header"
    cause = "Headers such as jku, jwk, x5u or an unknown crit would let the token name the key that verifies it."
    next_step = "Use an issuer whose tokens do not need such headers; keys come from configuration only."


class TokenUnbound(TokenError):
    """A token is authentic, but carries another nonce or binding than expected."""

    code = "token.binding"
    cause = "The token was made for another challenge or another key."
    next_step = "Attest again with the verifier's nonce."


# --- manifest --------------------------------------------------------------------------------------------------------
class ManifestError(RedoubtError):
    """A manifest cannot be used."""

    code = "manifest.invalid"
    exit_status = ExitStatus.REFUSED
    cause = "The manifest contradicts itself: what it says in one place cannot hold with what it says in another."
    next_step = "Correct the fields that are named; docs/manifest.md gives the format."


class ManifestMalformed(ManifestError):
    """The bytes are no manifest."""

    code = "manifest.malformed"
    cause = "The file is not TOML (or, once signed, not canonical JSON) within the bounds of a manifest."
    next_step = "Correct the line that is named, or export the manifest again."


class ManifestField(ManifestError):
    """A field of a manifest is missing, or of the wrong form."""

    code = "manifest.field"
    cause = "A required field is missing, or a value is not of the type, form or range that the format gives."
    next_step = "Correct the field at the path that is named; docs/manifest.md gives its form."


class ManifestUnknownField(ManifestError):
    """A manifest has a field that the format does not know."""

    code = "manifest.unknown_field"
    cause = "A rule that is silently ignored is a rule that its author believes to hold, so unknown fields are errors."
    next_step = "Correct the spelling of the field, or remove it."


class ManifestEmpty(ManifestError):
    """A set in a manifest is empty."""

    code = "manifest.empty"
    cause = "An empty set of owners, reference values, statuses or grants would allow nothing or everything."
    next_step = "Name at least one value, or leave an optional field out."


class ManifestDuplicate(ManifestError):
    """A manifest says something twice."""

    code = "manifest.duplicate"
    cause = "Two entries share a name, id, digest, key or value, so one of them would speak for the other."
    next_step = "Keep one of the two."


class ManifestDangling(ManifestError):
    """A manifest refers to something that it does not define, or defines something that nothing can use."""

    code = "manifest.dangling"
    cause = "A grant, dataset or program names an owner, dataset, program, TEE or recipient that is not there."
    next_step = "Define the name, or correct its spelling."


class ManifestAssurance(ManifestError):
    """A manifest grants data under hardware-class keys to simulated evidence."""

    code = "manifest.assurance"
    cause = "Data under a primary key of class hw is for hardware evidence only; simulated evidence proves nothing."
    next_step = "Remove the grant, or seal a development copy of the data under a key of class dev."


class ManifestSignature(ManifestError):
    """A signature of a manifest fails."""

    code = "manifest.signature"
    cause = "The manifest or the signature was changed, or the signature was made with another key than it names."
    next_step = "Sign the manifest again with `redoubt manifest sign`."


class ManifestUnsigned(ManifestError):
    """Owners have not signed a manifest that touches their data."""

    code = "manifest.unsigned"
    cause = "Every dataset's owners (or as many as `approvals` says) must sign, by the new and by the old manifest."
    next_step = "Let the owners that are named run `redoubt manifest sign`."


class ManifestRollback(ManifestError):
    """A manifest is not newer than the one that is set."""

    code = "manifest.rollback"
    cause = "Versions only rise, by one: an older manifest, or another one of the same version, is never accepted."
    next_step = "Take up what you want of the old manifest into a new version of the current one."


class ManifestUnexpected(ManifestError):
    """Another manifest is in force than the one that is expected."""

    code = "manifest.unexpected"
    cause = "The owners set a newer one since, or the broker answers for other owners, or an older state of it."
    next_step = (
        "Compare the version with `redoubt manifest log`; pass the manifest or digest that the owners agreed on."
    )


class ManifestChain(ManifestError):
    """A manifest does not follow the one that is set, or its history is broken."""

    code = "manifest.chain"
    cause = "`previous` is not the digest of the manifest before, or a manifest of the history is missing or changed."
    next_step = "Start from the current manifest; restore `.redoubt/manifest/` from a copy if it was edited."


class ManifestMissing(ManifestError):
    """No manifest is set."""

    code = "manifest.missing"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "Nothing is released without a manifest, and none is set here."
    next_step = "Write one with `redoubt manifest init`, sign it, and set it with `redoubt manifest set`."


class OwnerKeyInvalid(ManifestError):
    """An owner's key cannot be used."""

    code = "manifest.owner_key"
    exit_status = ExitStatus.KEY
    cause = "The file is no Ed25519 private key in PEM readable by you alone, or belongs to no owner in the manifest."
    next_step = "Name the owner's own key file with --key."


class ProgramInvalid(ManifestError):
    """A program descriptor is not valid."""

    code = "manifest.program"
    cause = "The descriptor lacks a field, has an unknown one, or names files in a way that has two readings."
    next_step = "Write the descriptor again with the tool that made it; docs/manifest.md gives its form."


# --- appraisal -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class FailedClaim:
    """One reason of a refusal: what the manifest expects of a claim, what was proved, and where the manifest says it.

    ``path`` is the field of the manifest that decided. Values are claims and rules, which are not secret; a program's
    arguments never stand here.
    """

    code: str
    claim: str
    expected: tuple[str | int | bool, ...]
    actual: str | int | bool | None
    path: tuple[str, ...]


class AppraisalError(RedoubtError):
    """What was proved is not what the manifest allows; nothing was released.

    ``failures`` are all failed claims of the attempt that came closest.
    """

    code = "appraisal.refused"
    exit_status = ExitStatus.REFUSED
    cause = "The evidence is authentic, but a claim in it is not what the owners' manifest allows."
    next_step = "The owner runs `redoubt explain` on the refusal: it names the claim and the edit that would allow it."

    def __init__(
        self,
        what: str,
        *,
        hint: str | None = None,
        why: str | None = None,
        failures: tuple[FailedClaim, ...] = (),
    ) -> None:
        super().__init__(what, hint=hint, why=why)
        self.failures = failures

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_refusal, (type(self), self.what, self.hint, self.why, self.failures))


def _rebuild_refusal(
    cls: type[AppraisalError], what: str, hint: str | None, why: str, failures: tuple[FailedClaim, ...]
) -> AppraisalError:
    return cls(what, hint=hint, why=why, failures=failures)


class TeeUnknown(AppraisalError):
    """The manifest names no TEE of this kind."""

    code = "appraisal.tee"
    cause = "The manifest has no TEE of the kind that the evidence is of, and what it does not name is refused."
    next_step = "Run on a TEE that the manifest names, or let the owners add this one."


class ReferenceMismatch(AppraisalError):
    """A measured claim is not one of the reference values."""

    code = "appraisal.reference"
    cause = "Another image, firmware or configuration was measured than the manifest lists, or the claim is missing."
    next_step = "Start the image that the owners listed; after an intended update let them list the new values."


class TcbRefused(AppraisalError):
    """The platform's TCB is not good enough."""

    code = "appraisal.tcb"
    cause = "The TCB status is not allowed or unproved, an advisory is refused, or a version is below the minimum."
    next_step = "Update firmware and microcode of the machine."


class DebugRefused(AppraisalError):
    """The guest can be debugged or migrated by its host."""

    code = "appraisal.debug"
    cause = "The guest's policy lets the host read or move its memory, which the default refuses."
    next_step = "Start the guest without its debug policy or migration agent."


class ChipRefused(AppraisalError):
    """The machine is not on the list of chips."""

    code = "appraisal.chip"
    cause = "The manifest lists the chips that may be used, and this one is not among them."
    next_step = "Run on a listed machine, or let the owners list this one."


class ProgramRefused(AppraisalError):
    """The program is not one that the manifest names, or it was not proved."""

    code = "appraisal.program"
    cause = "The program descriptor's digest is not in the manifest: code, options, environment or conf were changed."
    next_step = "Run the program as the owners approved it, or let them approve the new digest."


class ArgumentsRefused(AppraisalError):
    """The program's arguments are not allowed."""

    code = "appraisal.arguments"
    cause = "No list of argument patterns of the program matches all arguments, each from its first to its last sign."
    next_step = "Start the program with arguments that the manifest allows."


class BindingRefused(AppraisalError):
    """The program claim was proved in a way that is too weak."""

    code = "appraisal.binding"
    cause = "What binds the program to the TEE is weaker than the least level that the manifest demands."
    next_step = "Run the program where the TEE measures it, or its measured agent does; see docs/manifest.md."


class GrantMissing(AppraisalError):
    """The manifest grants this program nothing on this TEE."""

    code = "appraisal.grant"
    cause = "Program and TEE are known, but no grant names the two together."
    next_step = "Let the owners of the data add a grant."


class RoleNotGranted(AppraisalError):
    """The manifest gives this program, on this TEE, no such role in the trust domain."""

    code = "appraisal.role"
    cause = "Program and TEE are known, but no entry of `roles` gives the two this role together."
    next_step = "Let the owners add the role: `redoubt manifest add-role`."


class EvidenceStale(AppraisalError):
    """The evidence or its collateral is no longer valid."""

    code = "appraisal.expired"
    cause = "The time until which the evidence verifies has passed at the time of the appraisal."
    next_step = "Attest again with fresh collateral."


class RefusalMalformed(AppraisalError):
    """The bytes are no record of a refusal."""

    code = "appraisal.record"
    cause = "The file is not the JSON record that a broker writes for a refused attester."
    next_step = "Pass the record as the broker wrote it, or its id."


# --- attestation results, as their relying parties judge them --------------------------------------------------------
class EarError(RedoubtError):
    """An attestation result of Redoubt is authentic, but cannot be relied on."""

    code = "ear.invalid"
    exit_status = ExitStatus.REFUSED
    cause = "The EAR lacks a claim of its profile, or a claim has the wrong form."
    next_step = "Ask the broker for a new one."


class EarSimulated(EarError):
    """The attestation result is of simulated evidence, or passes for something that it is not."""

    code = "ear.simulated"
    cause = "Results of simulated evidence have their own issuer, type and profile, and count for development only."
    next_step = "Attest on hardware; for development verify it as a simulated result, on purpose."


class EarStatus(EarError):
    """The attestation result does not affirm."""

    code = "ear.status"
    cause = "The overall status, or a tier of the trustworthiness vector, is not one that the relying party accepts."
    next_step = "Update the platform, or accept the status `warning` on purpose."


class EarPolicy(EarError):
    """The attestation result was appraised under another manifest."""

    code = "ear.policy"
    cause = "The digest of the manifest in the result is not the one that the relying party expects."
    next_step = "Attest again under the current manifest."


# --- broker ----------------------------------------------------------------------------------------------------------
class BrokerError(RedoubtError):
    """The broker, or what a peer of it sent, failed.

    ``refusal`` is the id under which the broker keeps the reasons for the owners, where it keeps any.
    """

    code = "broker.failed"
    exit_status = ExitStatus.REFUSED
    cause = "The broker refused or could not do what it was asked."
    next_step = "Look at the broker's log and audit log."

    def __init__(
        self, what: str, *, hint: str | None = None, why: str | None = None, refusal: UUID | None = None
    ) -> None:
        super().__init__(what, hint=hint, why=why)
        self.refusal = refusal

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_broker_error, (type(self), self.what, self.hint, self.why, self.refusal))


def _rebuild_broker_error(
    cls: type[BrokerError], what: str, hint: str | None, why: str, refusal: UUID | None
) -> BrokerError:
    return cls(what, hint=hint, why=why, refusal=refusal)


class BrokerUnreachable(BrokerError):
    """The broker does not answer."""

    code = "broker.unreachable"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "Nothing listens at the broker's address, or it did not answer in time."
    next_step = "Check the address and that the broker runs (`redoubt broker verify URL`)."


class BrokerUntrusted(BrokerError):
    """What answers at the broker's address is not the broker that was pinned."""

    code = "broker.untrusted"
    cause = "Its certificate does not chain to the pinned CA, its keys are others, or its own evidence was refused."
    next_step = "Do not send anything to it. Ask the broker's operator for the CA's certificate by another way."


class BrokerMessage(BrokerError):
    """A message of the broker's protocol is malformed."""

    code = "broker.message"
    cause = "It is too large, not JSON, or has unknown, missing or malformed members (`docs/protocol.md`)."
    next_step = "Update the side that sent it; the text says what is wrong."


class BodyTooLarge(BrokerMessage):
    """A request's body is larger than its bound."""

    code = "broker.too_large"
    cause = "Bodies have a bound for each path, which is enforced while they are read."
    next_step = "Send fewer records at once; resources have at most a megabyte."


class TeeUnsupported(BrokerError):
    """The broker verifies no evidence of this kind."""

    code = "broker.tee"
    cause = "It is none that this version knows, or it is `sample` or simulated evidence, which prove nothing."
    next_step = "Attest on a TEE that docs/protocol.md lists; for development use `redoubt broker dev`."


class ProtocolVersion(BrokerError):
    """The peer speaks a version of the protocol that is not served."""

    code = "broker.protocol_version"
    cause = "The broker serves the RCAR versions that its configuration lists."
    next_step = "Use a client of a served version."


class SessionUnknown(BrokerError):
    """There is no such attestation session."""

    code = "broker.session_unknown"
    cause = "The session's cookie is missing, was never given out, or its session was removed after its end."
    next_step = "Attest again from the start."


class SessionExpired(BrokerError):
    """The attestation session has ended."""

    code = "broker.session_expired"
    cause = "A challenge must be answered within its lifetime, and a result used before it ends."
    next_step = "Attest again from the start."


class NonceReplayed(BrokerError):
    """The challenge was answered before, or is not the one that the broker gave."""

    code = "broker.nonce_replayed"
    cause = "Each nonce is the broker's own and good for one attestation."
    next_step = "Attest again from the start; if you did nothing twice, somebody replays your evidence."


class AttesterUnauthenticated(BrokerError):
    """The request carries no attestation result that this broker issued and that still holds."""

    code = "broker.not_attested"
    cause = "The result is missing, forged, expired, of another broker, or of a manifest that is no longer in force."
    next_step = "Attest again."


class GrantRefused(BrokerError):
    """The attested program may not do this with this dataset or resource."""

    code = "broker.not_granted"
    cause = "The manifest grants the attested program, on this TEE, no such action on this dataset."
    next_step = "Ask the dataset's owners; `redoubt explain ID` shows them what was asked."


class RoleRefused(BrokerError):
    """The manifest does not let this program take the role in the trust domain."""

    code = "broker.role_refused"
    cause = "No entry of the manifest's `roles` names this program, this TEE, this trust domain and this role together."
    next_step = "Ask the owners; `redoubt explain ID` shows them what was asked, and the entry that would allow it."


class TicketRefused(BrokerError):
    """The ticket does not allow this dataset's head to be moved."""

    code = "broker.ticket"
    cause = "It is forged or expired, or was given for another dataset or to the holder of another key."
    next_step = "Ask for a data key of the dataset; its answer holds a new ticket."


class OwnerUnauthenticated(BrokerError):
    """The request carries no valid signature of an owner."""

    code = "broker.owner_unknown"
    cause = "The owner's token is missing, forged, expired, used before, for another request, or of an unknown key."
    next_step = "Pass --owner-key FILE, with the key that the manifest names; check the machine's clock."


class OwnerForbidden(BrokerError):
    """This owner may not do this."""

    code = "broker.owner_forbidden"
    cause = "Keys are managed by the owners of the datasets that use them; the manifest in force says who that is."
    next_step = "Ask an owner of the dataset; if it is yours, add it to the manifest, sign that and set it."


class AttestationRefused(BrokerError):
    """The evidence was refused. The reasons are for the owners."""

    code = "broker.refused"
    cause = "The evidence is not authentic, or proves something that the owners' manifest does not allow."
    next_step = "Give the id to a data owner, who can see the reason with `redoubt explain ID`."


class RegisterConflict(BrokerError):
    """The dataset's registered head is another one than the caller believes."""

    code = "broker.register_conflict"
    exit_status = ExitStatus.CONFLICT
    cause = "Another writer committed meanwhile, or the dataset that was read is an older state of it."
    next_step = "Read the dataset again; if its head is older than the registered one, it was rolled back."


class DatasetTaken(BrokerError):
    """A new dataset has an id that is in use."""

    code = "broker.dataset_taken"
    exit_status = ExitStatus.CONFLICT
    cause = "Ids are random: a program that makes a dataset under the id of another one is wrong, or an attacker's."
    next_step = "Write anew, to a folder that holds no dataset; the id is chosen anew too."


class RegisterRollback(BrokerError):
    """The dataset is older than the state that was last registered."""

    code = "broker.rollback"
    cause = "Somebody put an earlier state of the dataset, or of the broker's store, in the place of a newer one."
    next_step = "Restore the newest state; compare `redoubt inspect` with the registered head."


class StoreRolledBack(BrokerError):
    """The broker's store is older than the counter that it is anchored in."""

    code = "broker.store_rolled_back"
    cause = "An earlier state of the store was put in its place: the counter has seen rows that it lacks."
    next_step = "Bring back the newest store. After an honest restore: tell every owner, then `redoubt broker anchor`."


class AnchorUnusable(BrokerError):
    """The counter in which the store is anchored cannot be used."""

    code = "broker.anchor"
    cause = "The counter does not answer, was never begun for this store, or is another one."
    next_step = "Check the section [anchor] of broker.toml, and that this user may use the TPM."


class CommitUnannounced(BrokerError):
    """A commit is newer than the registered one, and nobody who may write announced it."""

    code = "broker.unannounced"
    cause = "Somebody without a right to write made a commit, or an owner did without the broker."
    next_step = "If an owner made it: `redoubt register`. Else remove the commit record, and ask who held data keys."


class AuditBroken(BrokerError):
    """The audit log is not whole."""

    code = "broker.audit_broken"
    cause = "A row was changed, removed or put in another place, or the log is shorter than a head that was signed."
    next_step = "Take the store out of service and compare it with your backups and exports."


class AuditRowChanged(AuditBroken):
    """A row of the audit log is not what was written."""

    code = "broker.audit_changed"
    cause = "Its content does not have the digest that it was chained with."
    next_step = "Take the store out of service and compare the row with your backups and exports."


class AuditRowMissing(AuditBroken):
    """A row is missing from the audit log."""

    code = "broker.audit_missing"
    cause = "Rows are numbered without a gap; one was removed, or the export does not begin with the first."
    next_step = "Compare the log with your backups and exports; export it whole."


class AuditRowMisplaced(AuditBroken):
    """A row of the audit log stands in another's place."""

    code = "broker.audit_misplaced"
    cause = "Rows were swapped or repeated."
    next_step = "Compare the log with your backups and exports."


class AuditTruncated(AuditBroken):
    """The audit log ends before a head that its broker signed."""

    code = "broker.audit_truncated"
    cause = "The newest rows were removed, or the export is older than the signed head."
    next_step = "Export the log again; if it still ends early, the store was rolled back or cut."


class AuditForked(AuditBroken):
    """The audit log is another one than that whose head was signed."""

    code = "broker.audit_forked"
    cause = "It was rewritten with new digests, or it belongs to another store or an earlier state of this one."
    next_step = "Keep both, and compare them from the first row that differs."


class StoreMissing(BrokerError):
    """There is no broker's store where one was expected."""

    code = "broker.store_missing"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The path or database is another one than the store was made in, or the store was never made."
    next_step = "Check the location; make a store with `redoubt broker init` or `redoubt broker restore`."


class StoreExists(BrokerError):
    """A store would be made where one is already."""

    code = "broker.store_exists"
    exit_status = ExitStatus.USAGE
    cause = "A second store in the same place would replace keys that existing data needs."
    next_step = "Use the store as it is, or name another place."


class StoreFormat(BrokerError):
    """The store or the backup is of a format that this version does not know."""

    code = "broker.store_format"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "A newer version of Redoubt wrote it."
    next_step = "Update Redoubt."


class StoreDamaged(BrokerError):
    """The broker's store holds what no broker writes."""

    code = "broker.store_damaged"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The database was edited, rows were copied or swapped, or the disk fails."
    next_step = "Take the broker out of service and restore the store from a backup."


class BackupInvalid(BrokerError):
    """The file is not an authentic backup of a store under this root key."""

    code = "broker.backup_invalid"
    cause = "It was changed or cut short, is no backup, or belongs to another root key."
    next_step = "Use another copy of the backup, or the root key or shares that belong to it."


class ShareInvalid(BrokerError):
    """A share of a root key, or the set of them, is not good."""

    code = "broker.share_invalid"
    exit_status = ExitStatus.KEY
    cause = "A share was mistyped, changed, given twice, belongs to another set, or there are too few of them."
    next_step = "Check the shares against the originals; the text says which one is wrong, or how many are missing."


class ResourceMissing(BrokerError):
    """There is no such resource."""

    code = "broker.resource_missing"
    exit_status = ExitStatus.USAGE
    cause = "No owner stored a resource under this repository, type and tag."
    next_step = "Check the name."


class RefusalMissing(BrokerError):
    """There is no record of this refusal."""

    code = "broker.refusal_missing"
    exit_status = ExitStatus.USAGE
    cause = "The id is wrong, or the record was dropped because it is old."
    next_step = "Run the job again to get a new record."


class RateLimited(BrokerError):
    """Too many requests."""

    code = "broker.rate_limited"
    exit_status = ExitStatus.CONFLICT
    cause = "The broker serves a bounded number of requests a second from one peer."
    next_step = "Wait for the time that the answer's Retry-After names, then try again."


class SecretRefused(BrokerError):
    """An encrypted secret could not be opened, or its wrapping is not one that is allowed."""

    code = "broker.secret"
    cause = "The JWE was changed, is for another key, or uses an algorithm that is not served (RSA1_5 never is)."
    next_step = "Fetch it again with a key of an allowed kind."


class BrokerConfigInvalid(BrokerError):
    """The broker's configuration cannot be used."""

    code = "broker.config"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The file is missing or not TOML, or has unknown, missing or malformed settings."
    next_step = "Correct what the text names, or make a new one with `redoubt broker init DIR`."


class DevelopmentInstalled(BrokerError):
    """A production broker does not start where simulated evidence could be verified."""

    code = "broker.development_installed"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The package redoubt-dev is importable."
    next_step = "Run it in an environment of its own, without redoubt-dev; for development use `redoubt broker dev`."


class BrokerNameRefused(BrokerError):
    """The store belongs to brokers of another name, or of another kind."""

    code = "broker.name"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "`name` in broker.toml was changed, or the store is another broker's, or a development broker's."
    next_step = "Give the broker the name that the text says, or a store of its own."


class BrokerRootKey(BrokerError):
    """The broker's root key cannot be had, or is another one than its store was made with."""

    code = "broker.root_key"
    exit_status = ExitStatus.KEY
    cause = "The key file, passphrase, token or remote key is missing or another one, or too few shares were given."
    next_step = "Give the root key that the store was made with, or recover it from shares."


class ProgramFailed(BrokerError):
    """The attested program could not be started, or was changed while it was measured."""

    code = "broker.program"
    exit_status = ExitStatus.USAGE
    cause = "A file of the program is missing or not readable, or the command is none."
    next_step = "Check the command line; the text names what is wrong."


# --- receipts ---------------------------------------------------------------------------------------------------------
class ReceiptError(RedoubtError):
    """A receipt cannot be relied on, or cannot be had."""

    code = "receipt.invalid"
    exit_status = ExitStatus.REFUSED
    cause = "What the receipt says contradicts itself, its signatures, or what its reader expects."
    next_step = "Do not rely on it. Ask the broker's operator or an owner for the receipt that the broker keeps."


class ReceiptMalformed(ReceiptError):
    """The receipt is none."""

    code = "receipt.malformed"
    cause = "It is too large, not a DSSE envelope, or has unknown, missing or malformed members (`docs/receipts.md`)."
    next_step = "Pass the file as `redoubt agent exec` wrote it."


class ReceiptType(ReceiptError):
    """The envelope or the statement in it is of another type than a receipt."""

    code = "receipt.type"
    cause = "Another signed thing is passed for a receipt, or the type was changed; the signature covers it."
    next_step = "Pass a receipt; other in-toto statements are read with their own tools."


class ReceiptUnsigned(ReceiptError):
    """The receipt, or the reported part in it, carries no signature."""

    code = "receipt.unsigned"
    cause = "The signature was taken away. What nobody signed proves nothing."
    next_step = "Do not rely on it. Ask for the receipt that the broker keeps."


class ReceiptBroker(ReceiptError):
    """The receipt is signed by another broker than the one that is pinned."""

    code = "receipt.broker"
    cause = "Its key is none of those that the verifier was given, or that the owners' manifest names."
    next_step = "Pass the key of the owners' broker with --broker-key, or a manifest that names it."


class ReceiptSignature(ReceiptError):
    """The broker's signature is not over this receipt."""

    code = "receipt.signature"
    cause = "Something in it was changed after the broker signed, in every place where it stands."
    next_step = "Do not rely on it. Ask for the receipt that the broker keeps."


class ReceiptSimulated(ReceiptError):
    """The receipt is of a development broker where one of hardware is expected, or the other way round."""

    code = "receipt.simulated"
    cause = "Receipts of simulated evidence have a type and an issuer of their own, and prove nothing about hardware."
    next_step = "Run the job on hardware; in development pass --simulated on purpose."


class ReceiptSigner(ReceiptError):
    """The reported part is not signed by the key that was attested for it."""

    code = "receipt.signer"
    cause = "Somebody else than the attested agent wrote or changed it, or the agent attested no key for signatures."
    next_step = "Do not rely on it. Agents attest a key for signatures by themselves since receipts exist."


class ReceiptJob(ReceiptError):
    """The proved and the reported part are of two jobs."""

    code = "receipt.job"
    cause = "A part of one receipt was put into another one."
    next_step = "Do not rely on it. Ask for the receipt that the broker keeps."


class ReceiptProgram(ReceiptError):
    """The receipt names another program than the one that was attested."""

    code = "receipt.program"
    cause = "The digest of the program was changed, or the job reported another program than it is."
    next_step = "Do not rely on it; the attestation results in it name the program that ran."


class ReceiptManifest(ReceiptError):
    """The receipt names another manifest than the owners' or the one that was applied."""

    code = "receipt.manifest"
    cause = "The manifest's digest was changed, or it is none of those that the verifier was given."
    next_step = "Pass every signed manifest from version 1 on, oldest first."


class ReceiptRole(ReceiptError):
    """A role in the receipt is not what was attested."""

    code = "receipt.role"
    cause = "TEE, evidence, binding level or time of a role differ from its attestation result."
    next_step = "Do not rely on it; the attestation results in it are what the broker said of the role."


class ReceiptRoleRemoved(ReceiptError):
    """A role that received secrets is missing from the receipt."""

    code = "receipt.role_removed"
    cause = "A key release or a commit names an attestation result that belongs to no role."
    next_step = "Do not rely on it. Ask for the receipt that the broker keeps."


class ReceiptRoleAdded(ReceiptError):
    """The receipt has a role for which there is no attestation result."""

    code = "receipt.role_added"
    cause = "A role was added or its digest changed, or the agent did not show a result that it used."
    next_step = "Do not rely on it. Ask for the receipt that the broker keeps."


class ReceiptInput(ReceiptError):
    """The receipt names an input that the broker released no key for."""

    code = "receipt.input"
    cause = "An input's dataset or commit was changed in one part of the receipt, or reported without having been read."
    next_step = "Do not rely on it; the proved part says which keys were released, and at which commit."


class ReceiptOutput(ReceiptError):
    """The receipt names an output that was not committed at the broker's register."""

    code = "receipt.output"
    cause = "An output's dataset or commit was changed in one part of the receipt, or was never registered."
    next_step = "Do not rely on it; the proved part says which commits the job registered."


class ReceiptGrant(ReceiptError):
    """The receipt says that a program got what no manifest grants."""

    code = "receipt.grant"
    cause = "The manifest that was in force gives this program, on this TEE, no such action on this dataset."
    next_step = "Tell the owners: their broker did not follow their manifest, or the manifest is another one."


class ReceiptMember(ReceiptError):
    """The receipt names a member of the job's trust domain that cannot be one."""

    code = "receipt.member"
    cause = "A member was added or changed, is of another trust domain, or stands there twice."
    next_step = "Do not rely on it; the members' own receipts say who they were."


class ReceiptTime(ReceiptError):
    """The times in the receipt cannot be."""

    code = "receipt.time"
    cause = "The broker's time was changed, lies in the future, or the attestation result did not hold at it."
    next_step = "Check this machine's clock; else do not rely on the receipt."


class ReceiptDataset(ReceiptError):
    """A dataset is not the one that the receipt names."""

    code = "receipt.dataset"
    cause = "Its commit record is another one: it was changed or rolled back, or the receipt is of another dataset."
    next_step = "Compare the path; `redoubt verify PATH --at-commit DIGEST` with the receipt's digest says more."


class ReceiptConflict(ReceiptError):
    """The job has another receipt already."""

    code = "receipt.conflict"
    exit_status = ExitStatus.CONFLICT
    cause = "A job has one receipt: the broker gives the same one again, and none that reports something else."
    next_step = "Use the receipt that is there."


class JobClosed(ReceiptError):
    """The job has ended: it asked for its receipt."""

    code = "receipt.job_closed"
    exit_status = ExitStatus.CONFLICT
    cause = "A receipt says all that a job was given, so the broker gives nothing to the job after it."
    next_step = "Start the program again: each start is a job of its own."


class ReceiptTooLarge(ReceiptError):
    """The job did too much for one receipt."""

    code = "receipt.too_large"
    cause = "Results, commits and datasets of one receipt are bounded (`docs/receipts.md`)."
    next_step = "Split the job; the broker's audit log has every row of it."


class ReceiptMissing(ReceiptError):
    """There is no receipt of this job."""

    code = "receipt.missing"
    cause = "It was killed before its end, could not reach the broker, or is none that this broker knows."
    next_step = "Look for the job in the audit log: `redoubt audit export`."


# --- collection of evidence ------------------------------------------------------------------------------------------
class AttestError(RedoubtError):
    """Evidence could not be collected on this machine."""

    code = "attest.failed"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The interface of the TEE (a device, configfs, /dev/attestation or the TPM) refused or failed."
    next_step = "Check that the process may use the device, and look at the kernel's log."


class TeeMissing(AttestError):
    """This machine has no TEE, or not the one that was asked for."""

    code = "attest.no_tee"
    cause = "No interface of a TEE is present: this is no enclave and no confidential VM, or its driver is missing."
    next_step = "Run it inside the TEE. For development, install redoubt-dev and pass `--tee simulated`."


class AttesterRaced(AttestError):
    """Somebody else used the same entry of the TEE's interface meanwhile."""

    code = "attest.raced"
    exit_status = ExitStatus.CONFLICT
    cause = "The interface's generation moved by other writes than ours, so the evidence may be for another's data."
    next_step = "Try again; if it repeats, find the process that writes to the same entry of configfs-tsm."


# --- putting programs into a TEE -------------------------------------------------------------------------------------
class TeeError(RedoubtError):
    """A program cannot be put into a TEE as asked."""

    code = "tee.failed"
    exit_status = ExitStatus.USAGE
    cause = "The launcher was asked for something that this TEE, or its library operating system, does not do."
    next_step = "See docs/tee.md for what each TEE takes."


class TeeFileInvalid(TeeError):
    """A file is no manifest of Gramine, Occlum.json or bom.yaml at all."""

    code = "tee.file"
    cause = "It is not TOML or JSON, is too large, or names a key twice."
    next_step = "Compare it with docs/tee.md and the tool's own documentation."


class TeeManifestInvalid(TeeError):
    """A manifest of a library operating system says something that it must not say. The text begins with the key."""

    code = "tee.manifest"
    exit_status = ExitStatus.REFUSED
    cause = (
        "The manifest is what the enclave's measurement is made of: what is not strictly right in it is not measured."
    )
    next_step = "Correct the key that is named; docs/tee.md has the rules."

    @property
    def key(self) -> str:
        """The key that is wrong, with places in lists: ``fs.mounts[2].path``."""
        return self.what.partition(": ")[0]


class TeeKeyUnknown(TeeManifestInvalid):
    """A manifest has a key that Redoubt does not know."""

    code = "tee.key_unknown"
    cause = "An unknown key is a misspelt one, or one whose effect on what is measured nobody checked."
    next_step = "Remove the key that is named; docs/tee.md lists the keys that a manifest may have."


class TeeKeyMissing(TeeManifestInvalid):
    """A manifest lacks a key without which the library OS would take an unsafe or unknown default."""

    code = "tee.key_missing"
    cause = "Defaults change between versions; what decides about security stands in the manifest."
    next_step = "Add the key that is named; docs/tee.md has the rules."


class TeeValueInvalid(TeeManifestInvalid):
    """A value of a manifest has the wrong type, unit or size."""

    code = "tee.value"
    cause = "The library OS reads sizes with its own units, and takes the default for what it cannot read."
    next_step = "Give the key that is named a value of the type and unit that the text says."


class TeePathInvalid(TeeManifestInvalid):
    """A path of a manifest is relative, or is not in its one normal form."""

    code = "tee.path"
    cause = "A relative path, or one with `..`, names different files for whoever signs and whoever runs."
    next_step = "Write the whole path from `/`, without `.`, `..` or doubled slashes."


class TeeMountDuplicate(TeeManifestInvalid):
    """Two mounts of a manifest have the same path in the enclave."""

    code = "tee.mount_duplicate"
    cause = "Which of the two the program sees is the library OS's choice, not the owner's."
    next_step = "Remove one of the two mounts."


class TeeDebugOn(TeeManifestInvalid):
    """A manifest makes an enclave that can be debugged."""

    code = "tee.debug"
    cause = "The host reads and writes the memory of a debug enclave. No broker accepts its evidence."
    next_step = "Set it to false, or leave debugging to a machine without data."


class TeeInsecure(TeeManifestInvalid):
    """A manifest lets the host decide what the program is or does."""

    code = "tee.insecure"
    cause = "Arguments, environment, files or settings from the host are not measured, so they prove nothing."
    next_step = "Remove the key that is named; what varies between runs belongs to the program's arguments."


class TeeUnmeasured(TeeManifestInvalid):
    """A manifest trusts a file without naming its content."""

    code = "tee.unmeasured"
    cause = "Without a digest the file of whoever signs is trusted, not the one that was planned."
    next_step = "Name the file's SHA-256; docs/tee.md has the rules."


class TeeInconsistent(TeeManifestInvalid):
    """Parts of a manifest contradict each other."""

    code = "tee.inconsistent"
    cause = (
        "A program that starts from, reads or writes what no mount or trusted file gives fails in the enclave, late."
    )
    next_step = "Correct the keys that are named; docs/tee.md has the rules."


class SizeRefused(TeeError):
    """Memory, threads and enclave cannot be made to fit."""

    code = "tee.size"
    cause = "An enclave is laid out before it starts: what does not fit fails in it, after minutes, without saying why."
    next_step = "See `redoubt tee size --help` and the table in docs/tee-tables.md."


class TeeToolsMissing(TeeError):
    """The extra that reads and checks manifests is not installed."""

    code = "tee.extra"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "Schemas and binaries are read with libraries that a machine which only runs programs does not need."
    next_step = 'Install them: `pip install "redoubt[tee]"`.'


# --- workloads -------------------------------------------------------------------------------------------------------
class WorkloadError(RedoubtError):
    """A workload cannot run, or its answer is wrong."""

    code = "workload.failed"
    exit_status = ExitStatus.ENVIRONMENT
    cause = "The workload's generator, input or engine is missing or failed."
    next_step = 'Install the extra: `pip install "redoubt[tpch]"`, and check the input path.'


class AnswerMismatch(WorkloadError):
    """A query's answer differs from the reference."""

    code = "workload.answer"
    exit_status = ExitStatus.REFUSED
    cause = "The engine's answer on this data differs from the independent reference engine's."
    next_step = "Verify the sealed data with `redoubt verify`, then report the query and the scale."


def by_code() -> dict[str, type[RedoubtError]]:
    """Return every error class by its code."""
    found: dict[str, type[RedoubtError]] = {}
    pending = [RedoubtError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
