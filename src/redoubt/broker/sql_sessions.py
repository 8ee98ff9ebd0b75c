"""Attestation sessions in the store: a challenge is answered once, by whichever broker gets the answer.

The race of two answers is decided by one conditional UPDATE. Whether a session is over is judged by the caller's
clock; sessions that ended long ago are removed when new ones open, so the table is as large as the rate of challenges.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from redoubt.broker.database import Database, fetch_one
from redoubt.broker.header import READER
from redoubt.broker.ports import AttestSession
from redoubt.broker.schema import SESSIONS, USED_TOKENS, from_microseconds, to_microseconds
from redoubt.errors import NonceReplayed, SessionExpired, SessionUnknown, StoreDamaged
from redoubt.limits import EXPIRED_SESSION_SECONDS

_EXPIRED_MICROSECONDS: Final = EXPIRED_SESSION_SECONDS * 1_000_000


class SqlSessions:
    """See :class:`redoubt.broker.ports.SessionStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, session: AttestSession) -> None:
        """Remember a challenge."""
        expires = to_microseconds(session.expires)

        def work(connection: Connection) -> None:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires < expires - _EXPIRED_MICROSECONDS))
            connection.execute(
                insert(SESSIONS).values(
                    id=session.id.bytes, nonce=session.nonce, tee=session.tee, expires=expires, claimed=False
                )
            )

        self._database.writing(work)

    def claim(self, session_id: UUID, *, now: datetime) -> AttestSession:
        """Return the challenge, once.

        Raises:
            SessionUnknown, SessionExpired: there is none, or it is over.
            NonceReplayed: it was claimed before.
        """

        def work(connection: Connection) -> AttestSession:
            columns = (SESSIONS.c.nonce, SESSIONS.c.tee, SESSIONS.c.expires)
            row = fetch_one(connection, select(*columns).where(SESSIONS.c.id == session_id.bytes))
            if row is None:
                raise SessionUnknown("there is no such session")
            expires = _moment(row[2])
            if now >= expires:
                raise SessionExpired("the session is over")
            claimed = connection.execute(
                update(SESSIONS)
                .where(SESSIONS.c.id == session_id.bytes, SESSIONS.c.claimed.is_(False))
                .values(claimed=True)
            )
            if claimed.rowcount != 1:
                raise NonceReplayed("this session's challenge was answered before")
            return AttestSession(
                id=session_id, nonce=READER.exactly(bytes, row[0]), tee=READER.exactly(str, row[1]), expires=expires
            )

        return self._database.writing(work)

    def settle(self, session_id: UUID, token: bytes) -> None:
        """Keep the result of a claimed session; raises SessionUnknown if there is none that waits for one."""

        def work(connection: Connection) -> None:
            waiting = (SESSIONS.c.id == session_id.bytes, SESSIONS.c.claimed.is_(True), SESSIONS.c.token.is_(None))
            if connection.execute(update(SESSIONS).where(*waiting).values(token=token)).rowcount != 1:
                raise SessionUnknown("no such session waits for a result")

        self._database.writing(work)

    def use_once(self, token_id: UUID, *, expires: datetime) -> None:
        """Remember the id of a token that is good for one request; raises NonceReplayed the second time."""
        until = to_microseconds(expires)

        def work(connection: Connection) -> None:
            # No token lives as long as this table remembers one after its end, so none is forgotten too early.
            connection.execute(delete(USED_TOKENS).where(USED_TOKENS.c.expires < until - _EXPIRED_MICROSECONDS))
            try:
                connection.execute(insert(USED_TOKENS).values(id=token_id.bytes, expires=until))
            except IntegrityError:
                raise NonceReplayed("a token with this id was used before") from None

        self._database.writing(work)

    def token(self, session_id: UUID, *, now: datetime) -> bytes:
        """Return the result; raises SessionUnknown if there is none, SessionExpired if it is over."""
        columns = (SESSIONS.c.token, SESSIONS.c.expires)
        row = self._database.reading(
            lambda connection: fetch_one(connection, select(*columns).where(SESSIONS.c.id == session_id.bytes))
        )
        if row is None or row[0] is None:
            raise SessionUnknown("there is no such session, or it has no result yet")
        if now >= _moment(row[1]):
            raise SessionExpired("the session is over")
        return READER.exactly(bytes, row[0])


def _moment(value: object) -> datetime:
    try:
        return from_microseconds(READER.exactly(int, value))
    except OverflowError:
        raise StoreDamaged("the store holds an impossible time") from None
