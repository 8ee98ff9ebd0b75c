"""One PKCS#11 token: its module, login and session, and what its errors mean.

Source: PKCS #11 3.1 (OASIS), sections 5.4 (initialisation: a child process initialises anew), 5.6 (sessions) and 5.7
(login). Decides when a PIN is given to a token at all: a wrong one is tried once a process, and never when the token
says that the next mistake locks it. Imports python-pkcs11 only when a token is used.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redoubt.errors import (
    EnvironmentIncomplete,
    KeyError_,
    ProviderDenied,
    ProviderKeyMissing,
    ProviderPinRefused,
    ProviderSettingsInvalid,
    ProviderUnreachable,
)

if TYPE_CHECKING:
    from pkcs11 import PKCS11Error, Session
    from pkcs11 import Token as Found

_OTHERS_WRITE = 0o022
_modules = threading.Lock()
#: The process that initialised each module.
_initialised: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """What a token says of itself."""

    label: str
    manufacturer: str
    model: str
    serial: str
    mechanisms: frozenset[str]
    #: Both the slot and the AES key generator say that they are hardware (CKF_HW_SLOT, CKF_HW).
    hardware: bool


class Token:
    """A token that is found by its label. Safe for several threads, and across a fork."""

    def __init__(self, *, module: Path, label: str, pin: Callable[[], str]) -> None:
        """Use the token *label* of the PKCS#11 library *module*; *pin* is called once, at the first login."""
        self._module = module
        self._label = label
        self._read_pin = pin
        self._pin: str | None = None
        self._refused = False
        self._lock = threading.RLock()
        self._session: Session | None = None
        self._process = 0

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """Run a block with a logged-in session, alone; what the token refuses is raised as a KeyError_.

        Raises:
            ProviderPinRefused: the PIN is wrong, locked, or would be locked by another mistake.
            ProviderUnreachable: there is no such token now, or it failed.
            ProviderSettingsInvalid, EnvironmentIncomplete: the module or the PIN file cannot be used.
        """
        with self._lock, self._errors():
            if self._session is None or self._process != os.getpid():
                self._session = self._login()
                self._process = os.getpid()
            yield self._session

    def facts(self) -> TokenFacts:
        """Return what the token says of itself; needs no PIN.

        Raises:
            ProviderUnreachable: there is no such token now, or it failed.
            ProviderSettingsInvalid, EnvironmentIncomplete: the module cannot be used.
        """
        with self._lock, self._errors():
            from pkcs11 import Mechanism, MechanismFlag, SlotFlag

            token = self._find()
            mechanisms = token.slot.get_mechanisms()
            generator = Mechanism.AES_KEY_GEN
            flags = token.slot.get_mechanism_info(generator).flags if generator in mechanisms else MechanismFlag(0)
            return TokenFacts(
                label=self._label,
                manufacturer=_text(token.manufacturer_id),
                model=_text(token.model),
                serial=_text(token.serial),
                # A vendor's own mechanisms are plain numbers.
                mechanisms=frozenset(getattr(it, "name", "") for it in mechanisms),
                hardware=bool(token.slot.flags & SlotFlag.HW_SLOT) and bool(flags & MechanismFlag.HW),
            )

    def _find(self) -> Found:
        from pkcs11 import MultipleTokensReturned

        try:
            found: Found = _load(self._module).get_token(token_label=self._label)
            return found
        except MultipleTokensReturned:
            raise ProviderSettingsInvalid(f"several tokens have the label {self._label!r}") from None

    def _login(self) -> Session:
        from pkcs11 import (
            PinExpired,
            PinIncorrect,
            PinInvalid,
            PinLenRange,
            PinLocked,
            TokenFlag,
            UserAlreadyLoggedIn,
            UserPinNotInitialized,
        )

        token = self._find()
        if self._refused:
            raise ProviderPinRefused(f"the token {self._label!r} refused this PIN before; it is not tried again")
        if token.flags & TokenFlag.USER_PIN_LOCKED:
            raise ProviderPinRefused(f"the PIN of the token {self._label!r} is locked")
        if token.flags & TokenFlag.USER_PIN_FINAL_TRY:
            raise ProviderPinRefused(f"one more wrong PIN would lock the token {self._label!r}, so none is tried")
        if self._pin is None:
            self._pin = self._read_pin()
        try:
            return token.open(rw=True, user_pin=self._pin)
        except UserAlreadyLoggedIn:  # by another provider of this process: login is the application's, not a session's
            return token.open(rw=True)
        except (PinIncorrect, PinLenRange, PinInvalid, PinLocked, PinExpired, UserPinNotInitialized) as error:
            self._refused, self._pin = True, None
            raise ProviderPinRefused(f"the token {self._label!r} refuses the PIN: {type(error).__name__}") from None

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            import pkcs11
        except ImportError:
            raise EnvironmentIncomplete(
                "the provider 'pkcs11' needs the package python-pkcs11",
                hint="Install it: pip install 'redoubt[pkcs11]'.",
            ) from None
        try:
            yield
        except pkcs11.PKCS11Error as error:
            self._session = None  # whatever happened, the next call begins with a fresh one
            raise self._meaning(error) from error

    def _meaning(self, error: PKCS11Error) -> KeyError_:
        import pkcs11

        name = type(error).__name__
        if isinstance(error, pkcs11.NoSuchKey | pkcs11.MultipleObjectsReturned):
            return ProviderKeyMissing(f"the token {self._label!r} has not exactly one such key ({name})")
        if isinstance(error, pkcs11.NoSuchToken):
            return ProviderUnreachable(f"no slot of {self._module} holds a token with the label {self._label!r}")
        if isinstance(error, pkcs11.UserNotLoggedIn | pkcs11.TokenWriteProtected | pkcs11.FunctionRejected):
            return ProviderDenied(f"the token {self._label!r} does not allow it: {name}")
        return ProviderUnreachable(f"the token {self._label!r} failed: {name}")


def _load(module: Path) -> Any:
    """Return the PKCS#11 library *module*, initialised by this process."""
    import pkcs11

    try:
        status = module.stat()
    except OSError as error:
        raise ProviderSettingsInvalid(f"the PKCS#11 module {module} cannot be used: {error.strerror}") from None
    # It becomes code of this process.
    if not stat.S_ISREG(status.st_mode) or status.st_mode & _OTHERS_WRITE or status.st_uid not in (0, os.geteuid()):
        raise ProviderSettingsInvalid(f"the PKCS#11 module {module} is not a regular file that only root or you write")
    name = str(module)
    with _modules:
        library = pkcs11.lib(name)
        if _initialised.setdefault(name, os.getpid()) != os.getpid():
            library.reinitialize()
            _initialised[name] = os.getpid()
        return library


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else value
