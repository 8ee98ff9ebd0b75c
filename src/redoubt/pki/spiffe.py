"""SPIFFE names of the roles of a trust domain: ``spiffe://<trust-domain>/<role>/<id>``.

Source: SPIFFE-ID, sections 2 and 2.1 to 2.4. Domain and role are labels as everywhere in Redoubt, the id is 32
hexadecimal digits; other SPIFFE names exist, and are none of ours.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from redoubt.errors import SpiffeInvalid

#: A trust domain or role, as manifests name them. No dots: a domain is a name of the manifest, not of a host.
LABEL: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_ID: Final = re.compile(r"[0-9a-f]{32}")
_URI: Final = re.compile(r"spiffe://([^/]+)/([^/]+)/([^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeId:
    """Who a certificate speaks of."""

    domain: str
    role: str
    #: Of one attested key, so of one process of that role.
    id: str

    def __post_init__(self) -> None:
        if not LABEL.fullmatch(self.domain) or not LABEL.fullmatch(self.role) or not _ID.fullmatch(self.id):
            raise SpiffeInvalid("trust domain, role or id is not one of Redoubt's names")

    def __str__(self) -> str:
        return f"spiffe://{self.domain}/{self.role}/{self.id}"

    @classmethod
    def parse(cls, uri: str) -> SpiffeId:
        """Return the name that *uri* is; raises SpiffeInvalid."""
        found = _URI.fullmatch(uri)
        if found is None:
            raise SpiffeInvalid("the name is not spiffe://DOMAIN/ROLE/ID")
        return cls(domain=found[1], role=found[2], id=found[3])
