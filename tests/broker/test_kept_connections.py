"""Connections that are kept: what one request costs on them."""

from __future__ import annotations

import time
from pathlib import Path

from tests.broker.world import running_world


def test_answers_do_not_wait_for_a_delayed_acknowledgement(tmp_path: Path) -> None:
    """With Nagle's algorithm on, head and body of an answer are 40 ms apart, every time."""
    took = []
    with running_world(tmp_path) as world:
        connection = world.client.connection()
        for _ in range(20):
            start = time.perf_counter()
            connection.request("GET", "/healthz")
            assert connection.getresponse().read()
            took.append(time.perf_counter() - start)
        connection.close()
    assert min(took[1:]) < 0.03
