"""Key names: one spelling each, and nothing but a KeyError_ for the rest."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redoubt.errors import KeyError_
from redoubt.keys.names import Assurance, KeyName

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,40}[a-z0-9])?", fullmatch=True)
NAMES = st.builds(KeyName, LABELS, LABELS, st.sampled_from(Assurance))


@given(NAMES)
def test_full_form_round_trips(name: KeyName) -> None:
    assert KeyName.parse(str(name)) == name
    assert KeyName.resolve(str(name), namespace="other", assurance=Assurance.DEV) == name


@given(NAMES, LABELS, st.sampled_from(Assurance))
def test_short_forms_take_what_is_missing_from_the_defaults(name: KeyName, namespace: str, kind: Assurance) -> None:
    def resolve(text: str) -> KeyName:
        return KeyName.resolve(text, namespace=namespace, assurance=kind)

    assert resolve(name.name) == KeyName(namespace, name.name, kind)
    assert resolve(f"{name.name}.{name.assurance}") == KeyName(namespace, name.name, name.assurance)
    assert resolve(f"{name.namespace}/{name.name}") == KeyName(name.namespace, name.name, kind)


@given(st.text(max_size=200))
def test_any_text_is_a_name_or_a_key_error(text: str) -> None:
    try:
        parsed = KeyName.parse(text)
    except KeyError_:
        pass
    else:
        assert str(parsed) == text
    with contextlib.suppress(KeyError_):
        KeyName.resolve(text, namespace="main", assurance=Assurance.DEV)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "default",
        "key:main/default",
        "key:main/default.prod",
        "key:Main/default.dev",
        "key:main/../x.dev",
        "key:main/a/b.dev",
        "key:/a.dev",
        "key:main/.dev",
        "key:main/a.dev\n",
        " key:main/a.dev",
        "key:main/ä.dev",
        "key:main/-a.dev",
        "key:main/a-.dev",
        "key:main/" + "a" * 64 + ".dev",
        "key:" + "m" * 63 + "/" + "a" * 63 + ".dev",
        "kbs:///main/a/dev",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(KeyError_):
        KeyName.parse(text)


def test_unknown_class_is_named() -> None:
    with pytest.raises(KeyError_, match="prod"):
        KeyName.resolve("a.prod", namespace="main", assurance=Assurance.DEV)
