"""What a broker counts, for Prometheus. Every label is from a fixed list: routes, statuses, events, decisions.

No label is taken from a request: neither a path, nor a peer, nor a name in the manifest.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The counters of one broker, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "redoubt_broker_requests",
            "Requests by route and HTTP status.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "redoubt_broker_request_seconds",
            "Time from a request's head to its answer, by route.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._decisions = Counter(
            "redoubt_broker_decisions",
            "Decisions in the audit log, by event and outcome.",
            ("event", "decision"),
            registry=self._registry,
        )
        self._limited = Counter(
            "redoubt_broker_rate_limited", "Requests refused by the rate limit.", registry=self._registry
        )
        self._manifest = Gauge(
            "redoubt_broker_manifest_version", "Version of the manifest in force.", registry=self._registry
        )

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def decision(self, event: str, decision: str) -> None:
        """Count a decision."""
        self._decisions.labels(event, decision).inc()

    def rate_limited(self) -> None:
        """Count a request that was refused by the rate limit."""
        self._limited.inc()

    def manifest(self, version: int) -> None:
        """Note the version in force."""
        self._manifest.set(version)

    def text(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
