"""Every example of every page is whole: it runs as it stands, and it is typed."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import preloaded

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_WHY = r"(?:<!-- not run: (?P<why>[^>]+?) -->\n)?"
_BLOCK = re.compile(_WHY + r"^```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
#: A loop over ticks never ends by itself; after so many lines of output it is ended as with Ctrl-C.
ENDLESS, ENOUGH = re.compile(r"for tick in ticks"), 3
#: Each is a process with a simulator: so many at a time, each for at most so many seconds.
AT_ONCE, SECONDS = 3, 60


class Example(NamedTuple):
    """One block of Python of a page."""

    name: str
    code: str
    #: Why it is not run; None where it is.
    why: str | None


def examples() -> list[Example]:
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for block in _BLOCK.finditer(text):
            line = text[: block.start("code")].count("\n") + 1
            name = f"{page.relative_to(ROOT).with_suffix('')}_{line}".replace("/", "_").replace("-", "_")
            found.append(Example(name, block["code"], block["why"]))
    return found


EXAMPLES = examples()
#: Where examples are short and end by themselves, so that one process runs those of a page.
_REFERENCE = "docs_reference_api_"


def programs() -> list[list[Example]]:
    """The examples that are run, by the process in which they are."""
    pages: dict[str, list[Example]] = {}
    for example in EXAMPLES:
        if example.why is None:
            name = example.name
            pages.setdefault(name.rpartition("_")[0] if name.startswith(_REFERENCE) else name, []).append(
                example
            )
    return list(pages.values())


def run(program: list[Example], folder: Path) -> str:
    """Return what went wrong, or nothing."""
    own = folder / program[0].name
    own.mkdir()
    files = []
    for example in program:
        files.append(own / f"{example.name}.py")
        files[-1].write_text(example.code, "utf-8")
    process = preloaded.Popen(
        [sys.executable, ROOT / "tests" / "example.py", *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=own,
    )
    late = threading.Timer(SECONDS, process.kill)
    late.start()
    ended = False
    try:
        assert process.stdout is not None
        for number, _ in enumerate(process.stdout, 1):
            if number == ENOUGH and ENDLESS.search(program[0].code):
                process.send_signal(signal.SIGINT)
                ended = True
        _, said = process.communicate()
    finally:
        late.cancel()
    right = process.returncode == 0 or (ended and "KeyboardInterrupt" in said)
    return "" if right else f"{program[0].name} ended with {process.returncode}:\n{said}"


@pytest.mark.timeout(300)  # a machine with much else to do takes its time
def test_every_example_runs_or_says_why_not(tmp_path: Path) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        wrong = [text for text in threads.map(lambda program: run(program, tmp_path), programs()) if text]
    assert not wrong, "\n".join(wrong)


@pytest.mark.timeout(300)
def test_every_example_is_typed(tmp_path: Path) -> None:
    files = []
    for example in EXAMPLES:
        file = tmp_path / f"{example.name}.py"
        file.write_text(example.code, "utf-8")
        files.append(str(file))
    # As strictly as all of ours, of which it knows the types by then.
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *files],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=280,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_examples_are_counted() -> None:
    """A number that is another one now is a block that was added or lost: look, and write it here."""
    pages = {example.name.rpartition("_")[0] for example in EXAMPLES}
    blocks = sum(page.read_text("utf-8").count("```python\n") for page in PAGES)
    not_run = [example for example in EXAMPLES if example.why is not None]
    assert (len(pages), len(EXAMPLES), blocks, len(not_run)) == (21, 52, 52, 6)


def test_an_example_that_is_not_whole_is_found(tmp_path: Path) -> None:
    assert "NameError" in run([Example("broken", "pool.subscribe('NSE:INFY')", None)], tmp_path)
