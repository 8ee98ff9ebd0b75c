"""Saves every page that web interfaces on this loopback link to: ``python pages.py FOLDER URL…``.

Run as a program, since the loopback is that of a cluster's own network.
"""

from __future__ import annotations

import contextlib
import html
import re
import sys
import urllib.request
from collections import deque
from pathlib import Path
from urllib.parse import urljoin, urlsplit

_LINK = re.compile(rb'(?:href|src)="([^"#]+)"')
#: The same page in another order, and Spark's own scripts.
_LEFT_OUT = re.compile(r"/static/|\.sort=|\.desc=|/kill/|/log4j|threadDump")
_MOST = 200
_SECONDS = 20.0


def crawl(folder: Path, roots: list[str]) -> None:
    """Save the pages below *folder*, under names made of their addresses."""
    folder.mkdir()
    pending = deque(map(_same_host, roots))
    seen = set(pending)
    while pending and len(seen) <= _MOST:
        url = pending.popleft()
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            body: bytes = answer.read()
            (folder / re.sub(r"\W+", "_", url)[:200]).write_bytes(body)
            for found in _LINK.findall(body):
                link = _same_host(urljoin(answer.url, html.unescape(found.decode(errors="replace"))))
                parts = urlsplit(link)
                ours = parts.scheme == "http" and parts.hostname == "127.0.0.1"
                if ours and link not in seen and not _LEFT_OUT.search(link):
                    seen.add(link)
                    pending.append(link)


def _same_host(url: str) -> str:
    return url.replace("//localhost:", "//127.0.0.1:")


if __name__ == "__main__":
    crawl(Path(sys.argv[1]), sys.argv[2:])
