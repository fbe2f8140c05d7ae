"""The command line in the process of a test: how a command ended, and what it printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from brokerpool import cli
from brokerpool.settings import NAMES


class Ran(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Ran]:
    """Run a command in this process, in an empty directory, with no settings but those given."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    # Nobody listens there, whatever runs on this machine.
    monkeypatch.setenv("BROKERPOOL_GATEWAY_URL", "http://127.0.0.1:9")

    def run(*arguments: str, **environ: str) -> Ran:
        with monkeypatch.context() as patched:
            for name, value in environ.items():
                patched.setenv(name, value)
            patched.setattr(sys, "argv", ["brokerpool", *arguments])
            with pytest.raises(SystemExit) as ended:
                cli.main()
        printed = capsys.readouterr()
        code = ended.value.code
        return Ran(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run
