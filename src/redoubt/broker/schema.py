"""The tables of a broker's store, format 1, the same in SQLite and PostgreSQL.

``store`` has one row; its format number is read before anything else, and an unknown one is refused. Times are
microseconds since the epoch, UTC. Nothing is a secret but the columns named ``sealed`` and ``wrapped``, which open
under the root key only in the row where they were made (:mod:`redoubt.broker.sealing`, :mod:`redoubt.keys.booked`).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

STORE_FORMAT: Final = 1
METADATA: Final = MetaData()
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: SQLite counts rows by itself only in a column that is declared INTEGER.
_ROW_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")


def _only_row() -> Column[int]:
    return Column("one", Integer, CheckConstraint("one = 1"), primary_key=True, autoincrement=False)


STORE: Final = Table(
    "store",
    METADATA,
    _only_row(),
    Column("format", Integer, nullable=False),
    Column("id", LargeBinary, nullable=False),
    Column("assurance", Text, nullable=False),
    Column("check_value", LargeBinary, nullable=False),
    Column("root_kind", Text, nullable=False),
    Column("root_facts", LargeBinary, nullable=False),
    Column("root_wrapped", LargeBinary, nullable=False),
)
#: Secrets of the broker itself, by name.
SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
#: One row a primary key: what a writer locks, so that versions are added and judged by one at a time.
KEYS: Final = Table("keys", METADATA, Column("name", Text, primary_key=True))
VERSIONS: Final = Table(
    "versions",
    METADATA,
    Column("name", Text, ForeignKey("keys.name"), primary_key=True),
    Column("version", BigInteger, CheckConstraint("version >= 1"), primary_key=True, autoincrement=False),
    Column("state", Text, CheckConstraint("state IN ('enabled', 'disabled', 'destroyed')"), nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("wraps", BigInteger, CheckConstraint("wraps >= 0"), nullable=False),
    Column("wrapped", LargeBinary),
    CheckConstraint("(wrapped IS NULL) = (state = 'destroyed')"),
)
#: One row a live wrap, by the SHA-256 of its ciphertext.
WRAPS: Final = Table(
    "wraps",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("digest", LargeBinary, primary_key=True),
    Column("dataset_id", LargeBinary, nullable=False),
    Column("data_key_id", LargeBinary, nullable=False),
    Column("purpose", Text, nullable=False),
    ForeignKeyConstraint(["name", "version"], ["versions.name", "versions.version"]),
    Index("wraps_by_data_key", "data_key_id"),
)
SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("id", LargeBinary, primary_key=True),
    Column("nonce", LargeBinary, nullable=False),
    Column("tee", Text, nullable=False),
    Column("expires", BigInteger, nullable=False, index=True),
    Column("claimed", Boolean, nullable=False),
    Column("token", LargeBinary),
)
#: Ids of tokens that are good for one request.
USED_TOKENS: Final = Table(
    "used_tokens",
    METADATA,
    Column("id", LargeBinary, primary_key=True),
    Column("expires", BigInteger, nullable=False, index=True),
)
MANIFESTS: Final = Table(
    "manifests",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("envelope", LargeBinary, nullable=False),
)
RESOURCES: Final = Table(
    "resources",
    METADATA,
    Column("path", Text, primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)
REGISTER: Final = Table(
    "register",
    METADATA,
    Column("dataset_id", LargeBinary, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
)
#: Commits after the registered one that writers are about to make.
ANNOUNCED: Final = Table(
    "announced",
    METADATA,
    Column("dataset_id", LargeBinary, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
)
#: Datasets that programs made, each with the dataset of the manifest that it belongs to.
CREATED: Final = Table(
    "created",
    METADATA,
    Column("dataset_id", LargeBinary, primary_key=True),
    Column("parent_id", LargeBinary, nullable=False),
)
#: The data keys that were made for them, so that no other key passes as theirs.
CREATED_KEYS: Final = Table(
    "created_keys",
    METADATA,
    Column("dataset_id", LargeBinary, ForeignKey("created.dataset_id"), primary_key=True),
    Column("data_key_id", LargeBinary, primary_key=True),
    Column("check_value", LargeBinary, nullable=False),
)
REFUSALS: Final = Table(
    "refusals",
    METADATA,
    Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("id", LargeBinary, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("record", LargeBinary, nullable=False),
)
AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
)
#: Which rows of the audit log are about one job, or gave certificates of one trust domain. Receipts are made of them;
#: each row says so itself, too.
AUDIT_JOBS: Final = Table(
    "audit_jobs",
    METADATA,
    Column("job", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
)
RECEIPTS: Final = Table(
    "receipts",
    METADATA,
    Column("job", Text, primary_key=True),
    #: SHA-256 of what was reported.
    Column("reported", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    #: None from the moment when the job was closed until the receipt is signed.
    Column("receipt", LargeBinary),
)
#: The newest row's number and digest, once more: what the next writer locks.
AUDIT_HEAD: Final = Table(
    "audit_head",
    METADATA,
    _only_row(),
    Column("number", BigInteger, nullable=False),
    Column("digest", Text, nullable=False),
)


def to_microseconds(moment: datetime) -> int:
    """Return *moment* as tables hold it."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(value: int) -> datetime:
    """Return the moment that a table holds; raises OverflowError beyond the year 9999."""
    return _EPOCH + timedelta(microseconds=value)
