"""What a signal does while a command runs, whether or not the event loop of the system handles signals."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator, Mapping
from types import FrameType
from typing import Any

#: The signals that end a command: Ctrl-C, a service manager's, Ctrl-Break and a closed console on Windows.
STOP = ("SIGINT", "SIGTERM", "SIGBREAK")
#: The signal that asks for the settings to be read again; Windows has none.
HANGUP = "SIGHUP"


@contextlib.contextmanager
def handled(actions: Mapping[str, Callable[[], None]]) -> Iterator[None]:
    """Within the block let each signal, by its name, call its action on the running loop, in the main thread.

    Names that the system does not have are left out. What was before is there again afterwards.
    """
    loop = asyncio.get_running_loop()
    numbers = {getattr(signal, name): action for name, action in actions.items() if hasattr(signal, name)}
    with contextlib.ExitStack() as undo:
        for number, action in numbers.items():
            try:
                loop.add_signal_handler(number, action)
                undo.callback(loop.remove_signal_handler, number)
            except NotImplementedError:
                # Windows: Python calls its own handler between two steps of the loop, which is woken for it.
                undo.callback(signal.signal, number, signal.getsignal(number))
                signal.signal(number, _calling(loop, action))
        yield


async def until_stopped(serve: Coroutine[Any, Any, None], hangup: asyncio.Event) -> None:
    """Run this until it ends, or until SIGTERM or Ctrl-C cancels it; SIGHUP sets the event `hangup`.

    Raises what it raises.
    """
    stop = asyncio.Event()
    with handled(dict.fromkeys(STOP, stop.set) | {HANGUP: hangup.set}):
        serving = asyncio.create_task(serve)
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


def _calling(
    loop: asyncio.AbstractEventLoop, action: Callable[[], None]
) -> Callable[[int, FrameType | None], None]:
    def call(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(action)

    return call
