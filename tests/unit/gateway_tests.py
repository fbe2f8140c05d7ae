"""The gateway's own tests, for modules that run them once more over another upstream than a pool."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from types import ModuleType

import pytest

from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway import assembly
from brokerpool.gateway.server import Gateway


def modules(*names: str) -> tuple[ModuleType, ...]:
    """Return modules of this folder."""
    return tuple(import_module(f"tests.unit.{name}") for name in names)


#: Those that any upstream passes.
MODULES = modules(
    "test_clients",
    "test_ended_permissions",
    "test_gateway",
    "test_gateway_authentication",
    "test_gateway_operation",
    "test_monitor_explain",
    "test_monitor_health",
    "test_rest_endpoints",
    "test_rest_market_data",
)


def collected(modules: Iterable[ModuleType], elsewhere: Collection[str]) -> dict[str, object]:
    """Return the tests of these modules by name, but for those that are named in `elsewhere`."""
    found: dict[str, object] = {}
    for module in modules:
        marks = getattr(module, "pytestmark", None)
        tests = {n: t for n, t in vars(module).items() if n.startswith("test_") and n not in elsewhere}
        found |= tests if marks is None else {name: marks(test) for name, test in tests.items()}
    return found


def stand_over(
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[WebSocketPool], Upstream],
    gateway: type[Gateway] = Gateway,
) -> None:
    """Have every gateway that is put together stand over what is made of its pool."""

    def over(settings, upstream, *rest, deep_feed):
        assert isinstance(upstream, WebSocketPool)
        return gateway(settings, made(upstream), *rest, deep_feed=deep_feed)

    monkeypatch.setattr(assembly, "Gateway", over)
