"""A preloaded process is what a fresh one is: nothing that it or its test can see tells them apart."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import preloaded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there they are fresh: run it on Linux")

LOOK = """
import json, os, signal, sys
streams = [sys.stdin, sys.stdout, sys.stderr]
print(json.dumps({
    "name": __name__,
    "argv": sys.argv,
    "path": sys.path,
    "folder": os.getcwd(),
    "environ": dict(os.environ),
    "parent": os.getppid(),
    "group": os.getpgid(0) == os.getpgid(os.getppid()),
    "leader": os.getsid(0) == os.getpid(),
    "signals": [str(signal.getsignal(n)) for n in signal.valid_signals()],
    "blocked": list(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "files": sorted(os.listdir("/proc/self/fd"))[:4],
    "encodings": [[s.encoding, s.errors] for s in streams],
    "buffers": [[s.line_buffering, s.write_through, s.isatty(), s.fileno()] for s in streams],
    "read": sys.stdin.read(),
}))
print("on the other", file=sys.stderr)
"""
POPEN = pytest.mark.parametrize("popen", [subprocess.Popen, preloaded.Popen], ids=["fresh", "preloaded"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "looking.py").write_text(LOOK)
    return tmp_path


def seen(popen: type[subprocess.Popen[Any]], folder: Path, *command: str, **options: Any) -> Any:
    process = popen(
        [sys.executable, *(word.format(folder=folder) for word in command), "one", "two words"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    out, err = process.communicate("spoken \u20b9", timeout=30)
    assert (process.returncode, err) == (0, "on the other\n")
    return json.loads(out)


@pytest.mark.parametrize("command", [("-m", "looking"), ("{folder}/looking.py",)])
@pytest.mark.parametrize("own_session", [False, True])
def test_it_finds_what_a_fresh_one_finds(folder: Path, command: tuple[str, ...], own_session: bool) -> None:
    options = {"start_new_session": own_session, "env": {**os.environ, "OF_THE_TEST": "1"}}
    fresh, forked = (
        seen(popen, folder, *command, **options) for popen in (subprocess.Popen, preloaded.Popen)
    )
    assert forked == fresh
    assert forked["environ"]["OF_THE_TEST"] == "1"
    assert forked["parent"] == os.getpid()
    assert forked["read"] == "spoken \u20b9"


def test_it_has_made_the_imports_before_it_began(folder: Path) -> None:
    (folder / "loaded.py").write_text(
        "import sys; print('brokerpool.gateway.gateway_process' in sys.modules)"
    )
    done = preloaded.run([sys.executable, folder / "loaded.py"], cwd=folder, capture_output=True, text=True)
    assert done.stdout == "True\n", done


@POPEN
@pytest.mark.parametrize(
    ("code", "returned", "said"),
    [
        ("raise SystemExit(3)", 3, ""),
        ("raise SystemExit('a reason')", 1, "a reason\n"),
        ("raise KeyError('wrong')", 1, "KeyError: 'wrong'\n"),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("import atexit, sys; atexit.register(sys.stderr.write, 'bye')", 0, "bye"),
        ("import threading as t; t.Timer(0.1, lambda: print('late')).start()", 0, ""),
    ],
)
def test_it_ends_as_a_fresh_one_does(
    popen: type[subprocess.Popen[Any]], folder: Path, code: str, returned: int, said: str
) -> None:
    (folder / "ending.py").write_text(code)
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen([sys.executable, folder / "ending.py"], cwd=folder, text=True, **pipes) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err[-len(said) :] if said else err) == (returned, said)
    assert out == ("late\n" if "Timer" in code else "")


@POPEN
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_it(popen: type[subprocess.Popen[Any]], folder: Path, number: signal.Signals) -> None:
    (folder / "waiting.py").write_text(
        "import signal, time\n"
        # What runs in the background of a shell has it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with popen([sys.executable, folder / "waiting.py"], cwd=folder, text=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        assert process.wait(10) == -number


@POPEN
def test_on_a_terminal_it_writes_line_by_line(popen: type[subprocess.Popen[Any]], folder: Path) -> None:
    (folder / "tty.py").write_text(
        "import sys; out = sys.stdout; print(out.isatty(), out.line_buffering or out.write_through)"
    )
    master, slave = pty.openpty()
    with popen(
        [sys.executable, folder / "tty.py"], cwd=folder, stdout=slave, start_new_session=True
    ) as process:
        assert process.wait(30) == 0
    assert os.read(master, 100) == b"True True\r\n"
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize(
    "options",
    [
        {"env": {**os.environ, "PYTHONUTF8": "1"}},
        {"env": {**os.environ, "LC_ALL": "C"}},
        {"preexec_fn": os.getpid},
    ],
)
def test_what_a_fork_cannot_be_is_started_as_always(folder: Path, options: dict[str, Any]) -> None:
    (folder / "loaded.py").write_text("import sys; print('brokerpool' in sys.modules)")
    process = preloaded.Popen(
        [sys.executable, folder / "loaded.py"], cwd=folder, stdout=subprocess.PIPE, text=True, **options
    )
    assert process.communicate(timeout=30)[0] == "False\n"


def test_a_change_of_this_processs_own_environment_reaches_an_interpreter_as_well(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONUTF8", "1")
    (folder / "flags.py").write_text("import sys; print(sys.flags.utf8_mode)")
    done = preloaded.run([sys.executable, folder / "flags.py"], capture_output=True, text=True)
    assert done.stdout == "1\n"


def test_the_loader_ends_with_the_process_that_started_it_however_that_ends(folder: Path) -> None:
    (folder / "dying.py").write_text(
        "import os, subprocess, sys\n"
        f"sys.path.insert(0, {str(preloaded.ROOT)!r})\n"
        "from tests import preloaded\n"
        "preloaded.run([sys.executable, '-m', 'brokerpool', '--version'], stdout=subprocess.DEVNULL)\n"
        "import psutil\n"
        "print(*(child.pid for child in psutil.Process().children()), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, folder / "dying.py"], cwd=folder, stdout=subprocess.PIPE, text=True, timeout=60
    )
    assert done.returncode == -signal.SIGKILL
    (loader,) = map(int, done.stdout.split())
    if psutil.pid_exists(loader):
        psutil.Process(loader).wait(10)
