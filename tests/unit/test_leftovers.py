"""A run of the tests tells what it leaves behind and what it skipped: shown on small runs of pytest's own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]


def started(folder: Path, tests: str, *arguments: str) -> subprocess.Popen[str]:
    """Start pytest with this project's conftest on a file of tests."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text("from tests.conftest import *\n")
    (folder / "test_it.py").write_text(tests)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "xdist.plugin", *arguments],
        cwd=folder,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def ran(folder: Path, tests: str, *arguments: str) -> tuple[int, str]:
    run = started(folder, tests, *arguments)
    output, _ = run.communicate(timeout=60)
    return run.returncode, output


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_a_process_and_files_left_behind_fail_the_run_by_name_and_are_removed(
    tmp_path: Path, workers: str
) -> None:
    tests = """
import pathlib, subprocess, sys, tempfile
def test_leaves_a_process(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    print(process.pid, file=open(pathlib.Path(__file__).with_name("pid"), "w"))
    process.returncode = 0  # or its warning is the failure
def test_leaves_a_file():
    tempfile.mkstemp(prefix="forgotten-")
def test_writes_to_the_home_folder():
    (pathlib.Path.home() / "notes.txt").write_text("mine")
def test_may_write_to_its_own_folder(tmp_path):
    (tmp_path / "result").write_text("fine")
"""
    code, output = ran(tmp_path, tests, workers)
    assert code == 1, output
    assert "4 passed" in output
    for left in ("import time; time.sleep(60)", "test_leaves_a_process", "forgotten-", "notes.txt"):
        assert left in output.partition("LEFT BEHIND")[2], output
    assert "\npid\n" in output.partition("new in the tree")[2]
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))
    assert "result" not in output


@pytest.mark.parametrize("workers", ["-n0", "-n2"])
def test_nothing_of_a_clean_run_is_left(tmp_path: Path, workers: str) -> None:
    outside = tmp_path / "temporary"
    outside.mkdir()
    tests = f"""
import pathlib, tempfile
def test_passes(tmp_path):
    assert pathlib.Path(tempfile.gettempdir()).parent == pathlib.Path({str(outside)!r})
    assert pathlib.Path.home().is_relative_to(tempfile.gettempdir())
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(outside))
        code, output = ran(tmp_path, tests, workers)
    assert code == 0, output
    assert "LEFT" not in output
    assert list(outside.iterdir()) == []


def test_a_run_that_is_terminated_cleans_up_as_well(tmp_path: Path) -> None:
    outside = tmp_path / "temporary"
    outside.mkdir()
    tests = """
import asyncio, signal, subprocess, sys
def test_handles_the_signal_itself():
    async def main():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, print)
    asyncio.run(main())
def test_waits():
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        process.wait()
"""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(outside))
        run = started(tmp_path, tests, "-qs")
    assert run.stdout is not None
    child = int(run.stdout.readline().lstrip("."))
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == pytest.ExitCode.INTERRUPTED, output
    assert not psutil.pid_exists(child)
    assert list(outside.iterdir()) == []


def test_the_last_part_of_a_run_tells_all_skips_with_the_way_to_get_them(tmp_path: Path) -> None:
    tests = """
import pytest
@pytest.mark.first
@pytest.mark.parametrize("n", range(3))
def test_one(n):
    pytest.skip("the engine is missing: apt-get install engine")
def test_two():
    pytest.skip("no idea")
"""
    skips = tmp_path / "skips"
    options = (f"--skips={skips}", "-W", "ignore")
    assert ran(tmp_path, tests, "-m", "first", "-n2", *options)[0] == 0
    _, output = ran(tmp_path, tests, "-m", "not first", *options)
    summary = output.partition("skipped: what, why, and how to get it")[2]
    assert "why:    the engine is missing\nto get: apt-get install engine\n     3 of test_it.py\n" in summary
    assert "why:    no idea\nto get: (the reason does not say how)\n     1 of test_it.py\n" in summary
