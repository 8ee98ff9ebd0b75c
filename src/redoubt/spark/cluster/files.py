"""What a JVM of the cluster reads beside what the agent wrote: all in the role's folder of secrets, in memory.

``trust.p12`` is there because Spark wants a key store to be named, and holds CAs alone; ``java.security`` makes the TLS
context known that reads ``identity.pem`` and ``bundle.pem`` (``io.redoubt.cluster``); ``credentials`` is Hadoop's file.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from redoubt.agent.environment import SECRETS_VARIABLE
from redoubt.agent.membership import BUNDLE_FILE, MEMBERSHIP_FILE, SECRET_FILE
from redoubt.errors import RoleMissing
from redoubt.keys.private import replace_private_file
from redoubt.pki.keystore import trust_store
from redoubt.spark.cluster.credentials import credentials

PROVIDER: Final = "io.redoubt.cluster.MutualTls"
_NUMBER: Final = re.compile(r"^security\.provider\.([0-9]+)=", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberFiles:
    """The files of one role of a cluster."""

    folder: Path
    domain: str
    role: str

    @property
    def trust(self) -> Path:
        """CAs alone, PKCS #12."""
        return self.folder / "trust.p12"

    @property
    def security(self) -> Path:
        """What ``-Djava.security.properties`` names."""
        return self.folder / "java.security"

    @property
    def credentials(self) -> Path:
        """What ``-Dhadoop.token.files`` names."""
        return self.folder / "credentials"


def member_files(java_home: Path, *, folder: Path | None = None) -> MemberFiles:
    """Write the files for the JVMs of this role, in *folder* (default: where the agent put the role's identity).

    Raises:
        RoleMissing: the agent that started this program was not asked for a role.
    """
    place = folder or Path(os.environ.get(SECRETS_VARIABLE, "/nonexistent"))
    try:
        facts = json.loads((place / MEMBERSHIP_FILE).read_bytes())
        bundle, secret = (place / BUNDLE_FILE).read_bytes(), (place / SECRET_FILE).read_bytes()
        providers = (java_home / "conf/security/java.security").read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise RoleMissing(f"{error.filename} is missing: this program has no role in a trust domain") from None
    found = MemberFiles(folder=place, domain=str(facts["domain"]), role=str(facts["role"]))
    last = max(map(int, _NUMBER.findall(providers)), default=0)
    security = (
        f"security.provider.{last + 1}={PROVIDER}\n"
        f"redoubt.cluster.identity={place}\n"
        f"redoubt.cluster.domain={found.domain}\n"
    )
    replace_private_file(found.trust, trust_store(bundle))
    replace_private_file(found.security, security.encode())
    replace_private_file(found.credentials, credentials(secret))
    return found
