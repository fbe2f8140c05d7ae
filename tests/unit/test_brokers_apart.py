"""A broker is its folders: no code outside of them names it, so that one more touches nothing else."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from brokerpool.brokers import registry
from brokerpool.simulator.registry import brokers

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "brokerpool"
#: Scenes and benchmarks that find their brokers in the registries.
SHARED = [ROOT / "tests" / "faults", ROOT / "benchmarks", ROOT / "tests" / "every_broker.py"]
#: What the first two are named for besides: the public interface, the broker that is meant where none is
#: named, and the spelling of symbols that OpenAlgo gave its name. No further broker is to stand here.
EXCEPTIONS: dict[str, set[str]] = {
    "zerodha": {
        "__init__.py",
        "feed/pool_argument_checks.py",
        "settings/account_reading.py",
        "settings/websocket_pool.py",
        "simulator/__init__.py",
        "simulator/openalgo/broker.py",
        "sync/instruments.py",
    },
    "openalgo": {"brokers/*/instruments.py", "brokers/*/symbols.py", "simulator/__init__.py"},
}
BROKERS = sorted({*registry.names(), *brokers()})
_STATEMENT_BEGINS = (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)


def names(broker: str, source: str) -> bool:
    """Tell whether a name or a string of the code does; what docstrings and comments tell is no code."""
    word = re.compile(rf"(?<![a-z]){broker}(?![a-z])|{broker.capitalize()}(?![a-z])")
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        docstring = token.type == tokenize.STRING and before in _STATEMENT_BEGINS
        if token.type in (tokenize.NAME, tokenize.STRING) and not docstring and word.search(token.string):
            return True
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            before = token.type
    return False


def naming(broker: str, within: Path) -> Iterator[Path]:
    """Yield the files that name it and are not the broker's own."""
    for path in sorted(within.rglob("*.py")) if within.is_dir() else [within]:
        own = broker in path.relative_to(ROOT).parts or path.stem.startswith(broker)
        if not own and names(broker, path.read_text("utf-8")):
            yield path


@pytest.mark.parametrize("broker", BROKERS)
def test_no_code_of_the_package_outside_a_brokers_folders_names_it(broker: str) -> None:
    found = [path.relative_to(PACKAGE).as_posix() for path in naming(broker, PACKAGE)]
    excepted = EXCEPTIONS.get(broker, set())
    assert [path for path in found if not any(fnmatch(path, pattern) for pattern in excepted)] == []


@pytest.mark.parametrize("broker", [name for name in BROKERS if name not in EXCEPTIONS])
def test_no_scene_and_no_benchmark_names_a_broker_that_it_finds_in_the_registries(broker: str) -> None:
    assert [path for shared in SHARED for path in naming(broker, shared)] == []


def test_a_broker_that_can_be_simulated_is_installed_under_the_same_name() -> None:
    assert set(brokers()) <= set(registry.names())


@pytest.mark.parametrize(
    ("source", "named"),
    [
        ('HOST = "api.acme.example"', True),
        ("from brokerpool.brokers.acme import codec", True),
        ("class AcmeFeed: ...", True),
        ('"""Acme wants it so."""\ndef f() -> None:\n    """As acme does."""  # acme\n', False),
        ("pacmen = 1", False),
    ],
)
def test_a_name_is_seen_in_code_and_not_in_what_is_told_about_it(source: str, named: bool) -> None:
    assert names("acme", source) is named
