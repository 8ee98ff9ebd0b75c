"""Kubernetes Secrets as YAML, under the names that pod templates of BigDL PPML mount.

Source: Kubernetes API, ``v1.Secret``. Whoever reads such a text has what is in it: base64 hides nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final

KEYS_SECRET: Final = "ssl-keys"  # noqa: S105 - a name
PASSWORD_SECRET: Final = "ssl-password"  # noqa: S105 - a name
SPARK_SECRET: Final = "spark-secret"  # noqa: S105 - a name
ENCLAVE_SECRET: Final = "enclave-key"  # noqa: S105 - a name


def secret(name: str, entries: Mapping[str, bytes]) -> bytes:
    """Return the Secret *name* with these *entries*."""
    lines = ["apiVersion: v1", "kind: Secret", "metadata:", f"  name: {json.dumps(name)}", "type: Opaque", "data:"]
    # A JSON string is a YAML string, whatever it looks like: a number, a date, a boolean.
    for key, value in sorted(entries.items()):
        lines.append(f"  {json.dumps(key)}: {json.dumps(base64.b64encode(value).decode())}")
    return ("\n".join(lines) + "\n").encode()
