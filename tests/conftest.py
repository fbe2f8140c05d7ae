"""For all tests: no hidden deadlines, one PostgreSQL for those that need it, and nothing left at the end."""

from __future__ import annotations

import gc
import signal
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import mixing, preloaded, skipped
from tests.database import PostgresServer
from tests.leftovers import Left, Run
from tests.postgres import server, shut_down

# How long an example takes depends on who else is at work; what has to be quick is measured where it matters.
hypothesis.settings.register_profile("brokerpool", deadline=None, max_examples=30)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile("brokerpool")

_RUN = pytest.StashKey[Run]()
_LEFT = pytest.StashKey[Left]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--skips", type=Path, help="a file in which the parts of a run hand on what they skipped"
    )


def pytest_configure(config: pytest.Config) -> None:
    # A run in the background of a shell ignores Ctrl-C, and would hand that on to some of what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Until all tests are imported, next to nothing is garbage.
    gc.disable()
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = run = Run(config.rootpath)
        config.add_cleanup(run.remove)


@pytest.hookimpl(trylast=True)  # after what is not asked for has gone
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        items[:] = mixing.mixed(items, worker["workercount"])


def pytest_collection_finish() -> None:
    """What was imported stays: a test that has garbage collected need not wait for a look at all of it."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """What a file leaves in caches stays too: FastAPI has one that keeps every application for ever."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_runtestloop(session: pytest.Session) -> None:
    gc.enable()  # also in the process that has workers collect
    _clean_up_when_terminated(session.config)


def pytest_runtest_setup(item: pytest.Item) -> None:
    _clean_up_when_terminated(item.config)  # again: a loop that handled the signal in a test takes this away


def _clean_up_when_terminated(config: pytest.Config) -> None:
    if _RUN in config.stash:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(trylast=True)  # after the workers have ended
def pytest_sessionfinish(session: pytest.Session) -> None:
    shut_down()
    preloaded.shut_down()
    run = session.config.stash.get(_RUN, None)
    if run is not None:
        session.config.stash[_LEFT] = left = run.end()
        if left.faults and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    left = config.stash.get(_LEFT, None)
    if left is None:  # a worker, which reports to the run's first process
        return
    skips = skipped.of(terminalreporter.stats.get("skipped", ()))
    if config.option.skips is not None:
        skips = skipped.handed_on(config.option.skips, skips)
    sections = {
        "skipped: what, why, and how to get it": list(skipped.told(skips)),
        "LEFT BEHIND by these tests (removed now; the run fails for it)": left.faults,
        "new in the tree since the run began (yours, or left by a test?)": left.new_in_tree,
    }
    for title, lines in sections.items():
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    return server()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return server().fresh_database()
