"""The primary keys that a PPML program names: which Redoubt key each one is, and what opens its legacy data.

The *material* of a primary key is a file with one line. ``key:amy/people.dev`` is the name of a Redoubt key, as
``redoubt compat generate-keys`` writes it; anything else is a key of BigDL PPML, which opens legacy input and never
encrypts. What a program with several parties writes goes under the party's own key or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from redoubt.compat.files import LegacyKeys
from redoubt.compat.names import Service
from redoubt.compat.unwrap import read_key_file, service
from redoubt.errors import AlreadyExists, KeyUnknown, LegacyKeyInvalid, UsageError
from redoubt.keys.names import KeyName
from redoubt.keys.workspace import Workspace
from redoubt.sealed.local import AtomicFile
from redoubt.sealed.storage import SinkGuard

#: Name of the one key of a program that names none.
DEFAULT: Final = "defaultKey"
_PREFIX: Final = "key:"
_NAMED: Final = re.compile(r"spark\.bigdl\.primaryKey\.([^.]+)\.(material|kms\.type)")
#: Ours: which Redoubt key a primary key with legacy material seals under.
_SEALS_UNDER: Final = re.compile(r"spark\.redoubt\.primaryKey\.([^.]+)")


@dataclass(slots=True)
class PrimaryKey:
    """One primary key of a program."""

    name: str
    kind: Service = Service.SIMPLE
    material: Path | None = None
    data_key: Path | None = None
    seals_under: str | None = field(default=None)

    def key(self) -> KeyName | None:
        """Return the Redoubt key that the material, or the setting, names; None if the material is a legacy one."""
        if self.seals_under is not None:
            return KeyName.parse(self.seals_under)
        if self.material is None:
            return None
        text = read_key_file(self.material, what="the primary key")
        return KeyName.parse(text) if text.startswith(_PREFIX) else None

    def legacy(self, settings: Mapping[str, str]) -> LegacyKeys:
        """Return what opens legacy data of this key.

        Raises:
            LegacyKeyInvalid: its material is none of BigDL PPML.
        """
        if self.material is None or self._names_ours(self.material):
            raise LegacyKeyInvalid(
                f"the primary key {self.name} is none of BigDL PPML, so that it opens no legacy data",
                hint="Import the data first: `redoubt import-ppml`.",
            )
        wrapped = None
        if self.data_key is not None and not self._names_ours(self.data_key):
            wrapped = read_key_file(self.data_key, what="the data key")
        return LegacyKeys(unwrap=service(self.kind, self.material, settings=settings), wrapped=wrapped)

    @staticmethod
    def _names_ours(path: Path) -> bool:
        return read_key_file(path, what="the key").startswith(_PREFIX)


class PrimaryKeys:
    """The primary keys of one program, by name."""

    def __init__(self, conf: Mapping[str, str]) -> None:
        self._keys: dict[str, PrimaryKey] = {}
        for name, value in conf.items():
            named, ours = _NAMED.fullmatch(name), _SEALS_UNDER.fullmatch(name)
            if named is not None and named[2] == "material":
                self._of(named[1]).material = Path(value)
            elif named is not None:
                self._of(named[1]).kind = service_of(value)
            elif ours is not None:
                self._of(ours[1]).seals_under = value
        if "spark.bigdl.kms.type" in conf or "spark.bigdl.kms.key.primary" in conf:
            self.load(conf.get("spark.bigdl.kms.key.primary"), conf.get("spark.bigdl.kms.key.data"))
            self._of(DEFAULT).kind = service_of(conf.get("spark.bigdl.kms.type", Service.SIMPLE))

    def load(self, primary_key: str | None, data_key: str | None) -> None:
        """Make *primary_key* and *data_key*, paths, the default key's."""
        key = self._of(DEFAULT)
        key.material = Path(primary_key) if primary_key else None
        key.data_key = Path(data_key) if data_key else None

    def choose(self, name: str) -> PrimaryKey | None:
        """Return the key called *name*; of "" the only one, or None if there is none.

        Raises:
            KeyUnknown: there is no such key, or there are several and none was named.
        """
        if not name:
            if len(self._keys) > 1:
                raise KeyUnknown(
                    "cannot get a not existing keyLoader: the program has several primary keys and names none",
                    hint=f"Name one of {', '.join(sorted(self._keys))}.",
                )
            return next(iter(self._keys.values()), None)
        if name not in self._keys:
            raise KeyUnknown(f"the program's configuration has no primary key {name!r}")
        return self._keys[name]

    def seals_under(self, name: str) -> KeyName | None:
        """Return the Redoubt key that what is written under the primary key *name* is sealed under; None: the default.

        Raises:
            KeyUnknown: as :meth:`choose`, or the key has legacy material and other parties have keys too.
        """
        chosen = self.choose(name)
        found = chosen.key() if chosen is not None else None
        if found is None and chosen is not None and len(self._keys) > 1:
            raise KeyUnknown(
                f"the primary key {chosen.name} is one of BigDL PPML, which nothing is sealed under",
                hint=f"Name the party's key: spark.redoubt.primaryKey.{chosen.name}=key:NAMESPACE/NAME.dev.",
            )
        return found

    def _of(self, name: str) -> PrimaryKey:
        return self._keys.setdefault(name, PrimaryKey(name))


def service_of(text: str) -> Service:
    """Return the service that BigDL PPML calls *text*; raises UsageError, in its words, if it is none."""
    try:
        return Service(text)
    except ValueError:
        raise UsageError("invalid KMS type.", hint=f"It is one of {', '.join(Service)}.") from None


def make_key(workspace: Workspace, name: KeyName, *files: Path) -> bool:
    """Make the primary key *name*, unless it exists, and write its name into each of *files*; return whether it is new.

    Raises:
        AlreadyExists: one of the files exists.
        KeyError_, WorkspaceError: the provider refuses.
    """
    for path in files:
        if path.exists():
            raise AlreadyExists(f"{path} exists", hint="Choose another path: a key file is never replaced.")
    provider = workspace.provider_for(name)
    new = all(info.name != name for info in provider.list())
    if new:
        provider.create(name)
    for path in files:
        with SinkGuard(AtomicFile(path, replace=False)) as guard:
            guard.sink.write(f"{name}\n".encode())
    return new
