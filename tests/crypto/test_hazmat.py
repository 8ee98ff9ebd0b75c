"""The vector generator's encryptor is the same format, and only the generator and tests may use it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor

import redoubt
from redoubt.crypto.hazmat import encrypt_with_salt

SOURCES = Path(redoubt.__file__).parent


@pytest.mark.parametrize("size", [0, 1, 16383, 16384, 16385, 50000])
def test_cryptography_opens_it(size: int) -> None:
    plain = bytes(size)
    body = encrypt_with_salt(plain, data_key=bytes(32), context=b"c", salt=bytes(24))
    decryptor = Cobblestone256Decryptor(bytes(32), b"c")
    assert decryptor.update(body) + decryptor.finalize() == plain


def test_a_salt_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="salt"):
        encrypt_with_salt(b"", data_key=bytes(32), context=b"", salt=bytes(23))


def test_no_module_of_the_package_imports_it() -> None:
    users = []
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module or ""]
            if "redoubt.crypto.hazmat" in modules:
                users.append(path)
    assert users == []
