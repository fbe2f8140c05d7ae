"""Sends mutated frames of a recorded session to both listeners of a gateway, and as a broker to its pool.

The gateway runs in this process, on a market of its own, and everything stays on 127.0.0.1. Meanwhile one
client has to get its answers and the ticks of the broker's other socket, and newcomers have to be served; no
turn of the event loop may take long, nothing may be logged as an error, no task may die, and memory may not
grow. The frames follow from the seed: what a frame has broken is tried again with that seed and --first.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import SystemRandom

import psutil
from rich.console import Console
from rich.progress import Progress

from tests.fuzz.conversations import FRAMES_A_CONNECTION, Conversation, Target, conversations
from tests.fuzz.line import Line
from tests.fuzz.recorded import Recording, record
from tests.fuzz.trial import MOST_SECONDS_A_TURN, Trial, send, settle, trial
from tests.fuzz.watched_loop import turns

#: What this process may grow by in a run, in bytes, however long it is.
MOST_GROWTH = 64 * 1024 * 1024
#: Conversations between two looks whether newcomers are served.
_CONVERSATIONS_A_LOOK = 10
_INTERRUPTED = 130


@dataclass
class Report:
    """What a run has shown; the text is one line."""

    seed: int
    recording: str
    frames: int = 0
    connections: int = 0
    #: CPU seconds at the known pace, and the number of the frame that took them.
    longest_turn: float = 0.0
    longest_at: int = 0
    #: Bytes.
    growth: int = 0
    error_lines: int = 0
    tasks_died: int = 0
    #: To the client that is connected all the time, and to newcomers.
    answers: int = 0
    seconds: float = 0.0
    #: Which promise was broken, empty if none was, and the number of the frame behind which that showed.
    broken: str = ""
    at: int = 0

    def __str__(self) -> str:
        return (
            f"{self.frames:,} frames on {self.connections:,} connections in {self.seconds:,.0f} s:"
            f" longest turn {self.longest_turn * 1000:.1f} ms of CPU (frame {self.longest_at}),"
            f" memory grew by {self.growth / 2**20:.1f} MB,"
            f" {self.error_lines} lines of ERROR, {self.tasks_died} tasks died,"
            f" {self.answers:,} answers to clients that must not notice;"
            f" seed {self.seed}, recording {self.recording}"
        )

    @property
    def again(self) -> str:
        """How to send again what broke a promise, with the rest of its conversation."""
        first = self.at - self.at % FRAMES_A_CONNECTION
        return f'make fuzz ARGS="--seed {self.seed} --first {first} --frames {FRAMES_A_CONNECTION}"'


class _BrokenError(Exception):
    """A promise does not hold."""


class Fuzzer:
    """Plays conversations against one gateway, until the first broken promise."""

    def __init__(self, attacked: Trial, report: Report, first: int) -> None:
        self._trial = attacked
        self._report = report
        self._process = psutil.Process()
        self._memory = self._process.memory_info().rss
        self._queue: Line | None = None
        self._conversation: Conversation
        #: Numbers of frames: the one that was sent last, and the highest.
        self._last = self._newest = first - 1
        #: The longest turn in this conversation, and the number of its frame.
        self._longest, self._longest_at = 0.0, 0

    async def play(self, conversation: Conversation, *, thoroughly: bool) -> None:
        """Send all of it, and look. Raises _BrokenError."""
        report, self._conversation = self._report, conversation
        self._longest = 0.0
        longest = await self._trial.longest_turn(lambda: self._send(conversation))
        if longest > report.longest_turn:
            report.longest_turn, report.longest_at = longest, self._longest_at
        if longest >= MOST_SECONDS_A_TURN:
            raise _BrokenError(self._at(self._longest_at, f"a turn took {longest * 1000:.1f} ms of CPU"))
        await self.look(thoroughly=thoroughly)

    async def look(self, *, thoroughly: bool) -> None:
        """Look at who must not notice, `thoroughly` at newcomers too. Raises _BrokenError."""
        trial, report = self._trial, self._report
        try:
            await trial.look()
            if thoroughly:
                gc.collect()  # so that what died unseen is told, and in no turn of the gateway's
                await trial.look_at_newcomers()
                await trial.watched.look()
        except (AssertionError, OSError, TimeoutError) as error:
            raise _BrokenError(self._at(self._last, f"a client noticed: {error!r}")) from error
        finally:
            report.answers = trial.answers
        self._judge()
        report.growth = max(report.growth, self._process.memory_info().rss - self._memory)
        if report.growth >= MOST_GROWTH:
            raise _BrokenError(self._at(self._last, f"memory grew by {report.growth / 2**20:.0f} MB"))

    async def _send(self, conversation: Conversation) -> None:
        try:
            for mutant in conversation.mutants:
                await send(await self._connected(conversation), mutant.pieces)
                self._sent(mutant.number)
                self._judge()
            await settle()
            if self._queue is not None and conversation.target is not Target.BROKER:
                self._queue.end(politely=conversation.politely)
                await turns(1)
        finally:
            if self._queue is not None:
                self._queue.end()
                self._queue = None
            await turns(2)
        self._sent(self._last)

    def _sent(self, number: int) -> None:
        """Note that a frame was sent, for the first time or again, and whose turn was the longest."""
        self._last = number
        if number > self._newest:
            self._newest = number
            self._report.frames += 1
        if self._trial.watched.longest > self._longest:
            self._longest, self._longest_at = self._trial.watched.longest, number

    async def _connected(self, conversation: Conversation) -> Line:
        """Return the conversation's connection, a new one when it is closed."""
        if self._queue is not None and not self._queue.closed:
            return self._queue
        self._report.connections += 1
        self._queue = await self._trial.connect(conversation.target, reads=conversation.reads)
        return self._queue

    def _judge(self) -> None:
        """Look for what was logged or died since the last time."""
        watched, report = self._trial.watched, self._report
        report.error_lines += len(watched.error_lines)
        report.tasks_died += len(watched.deaths)
        if found := self._trial.faults():
            raise _BrokenError(self._at(self._last, "; ".join(found)))

    def _at(self, number: int, what: str) -> str:
        """Note the frame that has broken something, and return what, with how the frame was made."""
        self._report.at = number
        made = {mutant.number: mutant.how for mutant in self._conversation.mutants}.get(number, "")
        return f"{what} [to {self._conversation.target.value}: {made}]"


async def fuzz(
    recording: Recording,
    report: Report,
    *,
    frames: int,
    first: int = 0,
    tell: Callable[[], object] = lambda: None,
) -> None:
    """Send so many frames, from the number `first` on; `tell` is called when the report is newer.

    What the run has shown is in the report, also when it is cancelled.
    """
    began = time.perf_counter()
    async with trial() as attacked:
        fuzzer = Fuzzer(attacked, report, first)
        try:
            for n, conversation in enumerate(conversations(recording, report.seed, first, frames), 1):
                await fuzzer.play(conversation, thoroughly=n % _CONVERSATIONS_A_LOOK == 0)
                report.seconds = time.perf_counter() - began
                tell()
            await fuzzer.look(thoroughly=True)
        except _BrokenError as broken:
            report.broken = str(broken)
        finally:
            report.seconds = time.perf_counter() - began
    # What showed only when the gateway was closed.
    report.error_lines += len(attacked.watched.error_lines)
    report.tasks_died += len(attacked.watched.deaths)
    if (found := attacked.faults()) and not report.broken:
        report.broken = f"when the gateway was closed: {'; '.join(found)}"


@contextlib.contextmanager
def _progress(report: Report, frames: int) -> Iterator[Callable[[], None]]:
    """Give what shows how far the run is: a bar on a terminal, else a line every tenth part."""
    if sys.stderr.isatty():
        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("frames", total=frames)
            yield lambda: progress.update(bar, completed=report.frames)
        return
    told = 0

    def tell() -> None:
        nonlocal told
        tenths = report.frames * 10 // frames
        if tenths > told:
            told = tenths
            print(f"{tenths * 10:3d} % {report}", file=sys.stderr, flush=True)

    yield tell


def main(arguments: list[str] | None = None) -> int:
    """Run as told; return 1 when a promise was broken, 130 when interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz.mutation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Exits with 0 when nobody noticed, 1 when a promise was broken, 130 on Ctrl-C.",
    )
    parser.add_argument("--frames", type=_whole(1), default=50_000, help="how many mutated frames (50000)")
    parser.add_argument(
        "--seed", type=_whole(0), help="what the frames follow from (drawn, and told at the end)"
    )
    parser.add_argument("--first", type=_whole(0), default=0, help="the number of the first frame (0)")
    options = parser.parse_args(arguments)
    seed = SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    report = Report(seed, "not made")
    try:
        recording = asyncio.run(record())
        report.recording = recording.digest
        with _progress(report, options.frames) as tell:
            asyncio.run(fuzz(recording, report, frames=options.frames, first=options.first, tell=tell))
    except KeyboardInterrupt:
        print(report)
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    print(report)
    if report.broken:
        print(f"BROKEN at frame {report.at} of seed {report.seed}: {report.broken}\nagain: {report.again}")
    return bool(report.broken)


def _whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return number


if __name__ == "__main__":
    sys.exit(main())
