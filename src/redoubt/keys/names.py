"""Names of primary keys: logical, never locations, with the assurance class as part of the name.

The full form is ``key:<namespace>/<name>.<class>``, e.g. ``key:main/default.dev``. The class (``dev`` or ``hw``) is
fixed when the key is made and, being part of the name, is authenticated in every wrap (hardening H25). The workspace,
or a manifest, maps the namespace to a provider; data never says where a key lives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from redoubt.errors import KeyError_
from redoubt.limits import MAX_KEY_NAME_BYTES

#: What a namespace, a key's name and every name in a manifest look like.
LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_FULL = re.compile(rf"key:({LABEL.pattern})/({LABEL.pattern})\.(dev|hw)")


class Assurance(StrEnum):
    """Where a primary key may exist: ``dev`` anywhere, ``hw`` only behind attested or hardware-backed providers."""

    DEV = "dev"
    HARDWARE = "hw"


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """The logical name of a primary key."""

    namespace: str
    name: str
    assurance: Assurance

    def __post_init__(self) -> None:
        for label in (self.namespace, self.name):
            if not LABEL.fullmatch(label):
                raise KeyError_(
                    f"{label!r} is not a key name: use 1 to 63 of a-z, 0-9, '-' and '_'; begin and end with no sign"
                )
        if len(str(self)) > MAX_KEY_NAME_BYTES:
            raise KeyError_(f"key name {str(self)!r} is longer than {MAX_KEY_NAME_BYTES} bytes")

    def __str__(self) -> str:
        return f"key:{self.namespace}/{self.name}.{self.assurance}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse the full form.

        Raises:
            KeyError_: *text* is not ``key:<namespace>/<name>.<class>``.
        """
        match = _FULL.fullmatch(text)
        if match is None:
            raise KeyError_(f"{text!r} is not a full key name")
        return cls(match[1], match[2], Assurance(match[3]))

    @classmethod
    def resolve(cls, text: str, *, namespace: str, assurance: Assurance) -> Self:
        """Read what a person types: the full form, ``name.class``, ``namespace/name`` or just ``name``.

        What is missing is taken from *namespace* and *assurance*.

        Raises:
            KeyError_: the text fits none of these.
        """
        rest = text.removeprefix("key:")
        before, slash, after = rest.rpartition("/")
        name, dot, class_text = after.partition(".")
        if dot and class_text not in set(Assurance):
            raise KeyError_(f"{text!r} names the unknown assurance class {class_text!r}; classes are dev and hw")
        return cls(before if slash else namespace, name, Assurance(class_text) if dot else assurance)
