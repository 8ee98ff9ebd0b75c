"""Names and addresses of servers, as a person writes them and as certificates have them.

Sources: RFC 1123, section 2.1; RFC 5280, section 4.2.1.6; RFC 6125, section 6.4.3 (a wildcard is a whole first label).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Final

from redoubt.errors import UsageError
from redoubt.limits import MAX_CERTIFICATE_HOSTS

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
#: The last label is not a number: such a name would be a wrong address.
_NAME: Final = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*(?!\d+$){_LABEL}")
_LONGEST_NAME: Final = 253


def parse_hosts(texts: Sequence[str]) -> tuple[str, ...]:
    """Return *texts* as names in lower case and addresses in their usual spelling, each once.

    Raises:
        UsageError: one is neither, or there are too many or none.
    """
    if not 0 < len(texts) <= MAX_CERTIFICATE_HOSTS:
        raise UsageError(f"a certificate is for 1 to {MAX_CERTIFICATE_HOSTS} hosts")
    return tuple(dict.fromkeys(map(_host, texts)))


def _host(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        name = text.lower()
        if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
            raise UsageError(
                f"{text!r} is neither a host's name nor an address", hint="Without scheme and port: host.example."
            ) from None
        return name
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id:
        raise UsageError(f"{text!r} means something on this machine alone: leave out what follows the %")
    return str(address)
