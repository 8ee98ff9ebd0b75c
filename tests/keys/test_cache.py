"""Unwrapped data keys in memory: asked for once, and again when their time is over."""

from __future__ import annotations

from uuid import uuid4

import pytest

from redoubt.errors import KeyDisabled
from redoubt.keys.cache import CachingKeySource
from redoubt.keys.provider import KeyState
from redoubt.keys.types import WrapContext
from redoubt.keys.workspace import Workspace
from redoubt.limits import CACHED_KEY_SECONDS


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_disabled_key_is_refused_when_the_time_of_what_was_unwrapped_is_over(workspace: Workspace) -> None:
    name = workspace.resolve(f"expiring-{uuid4().hex[:8]}")
    provider = workspace.provider_for(name)
    provider.create(name)
    clock = Clock()
    cache = CachingKeySource(workspace, clock=clock)
    made, wrapped = cache.new_data_key(str(name), WrapContext(uuid4(), uuid4()))
    provider.set_state(name, KeyState.DISABLED)
    clock.now += CACHED_KEY_SECONDS - 1
    assert cache.unwrap([wrapped])[0].secret == made.secret
    clock.now += 1  # the use in between prolonged nothing
    with pytest.raises(KeyDisabled):
        cache.unwrap([wrapped])
    assert not cache._cache
    provider.set_state(name, KeyState.ENABLED)
    assert cache.unwrap([wrapped])[0].secret == made.secret


def test_what_is_over_leaves_memory_and_the_rest_stays(workspace: Workspace) -> None:
    clock = Clock()
    cache = CachingKeySource(workspace, clock=clock)
    _, old = cache.new_data_key(None, WrapContext(uuid4(), uuid4()))
    clock.now += CACHED_KEY_SECONDS / 2
    _, young = cache.new_data_key(None, WrapContext(uuid4(), uuid4()))
    clock.now += CACHED_KEY_SECONDS / 2
    cache.unwrap([young])
    assert set(cache._cache) == {young.encode()}
    assert len(cache.unwrap([old, young, old])) == 3
