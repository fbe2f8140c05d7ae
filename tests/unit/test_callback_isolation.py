"""The fence: what strangers' code raises is told once by name, counted, and goes no further."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from brokerpool.callback_isolation import (
    MOST_GIVEN_UP,
    MOST_NAMES,
    OTHERS,
    Fence,
    HookFailed,
    check_plain,
    name_of,
)
from brokerpool.testing.virtual_loop import run


class Outrageous(BaseException):
    """As pytest's own, which is no Exception."""


class Watcher:
    def ticked(self) -> None:
        raise KeyError("n")


def raises(error: BaseException) -> Callable[[], None]:
    def hook() -> None:
        raise error

    return hook


def test_a_fault_is_logged_the_first_tenth_and_hundredth_time_and_counted_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    journal: list[str] = []
    fence = Fence("zerodha", journal.append)
    for _ in range(250):
        assert fence.call(Watcher().ticked, otherwise=None) is None
    assert fence.faults == {"Watcher.ticked": 250}
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert caplog.text.count("Traceback") == 3
    assert journal == [f"Watcher.ticked raised KeyError ({n} so far); see the log" for n in (1, 10, 100)]


def test_the_names_that_are_told_apart_are_bounded() -> None:
    fence = Fence("zerodha")
    for number in range(MOST_NAMES + 50):
        fence.call(raises(KeyError()), otherwise=None, name=f"hook {number}")
    assert len(fence.faults) == MOST_NAMES + 1
    assert fence.faults[OTHERS] == 50


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), Outrageous(), GeneratorExit()])
def test_whatever_a_plain_hook_raises_ends_at_the_fence(error: BaseException) -> None:
    async def main() -> None:
        fence = Fence("zerodha")
        assert fence.call(raises(error), otherwise=None) is None
        assert fence.faults.total() == 1

    run(main)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_the_end_of_the_process_goes_through_and_ends_no_loop_of_another_thread(error: BaseException) -> None:
    fence = Fence("zerodha")
    with pytest.raises(type(error)):
        fence.call(raises(error), otherwise=None)
    assert not fence.faults
    thread = threading.Thread(target=lambda: fence.call(raises(error), otherwise=None, name="exit"))
    thread.start()
    thread.join()
    assert fence.faults == {"exit": 1}


def test_a_cancellation_that_was_asked_of_the_task_goes_through() -> None:
    async def main() -> None:
        fence = Fence("zerodha")

        async def work() -> None:
            await asyncio.sleep(60)

        task = asyncio.create_task(fence.supervise(work, lambda: 1.0, name="work"))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert not fence.faults

    run(main)


def test_a_task_that_dies_is_told_and_begun_again_after_a_rest() -> None:
    async def main() -> None:
        fence = Fence("zerodha")
        loop = asyncio.get_running_loop()
        begun: list[float] = []
        rests = iter([1.0, 2.0])

        async def work() -> None:
            begun.append(loop.time())
            if len(begun) == 1:
                raise asyncio.CancelledError  # nobody has cancelled it
            if len(begun) == 2:
                raise ValueError("a bug")

        await fence.supervise(work, lambda: next(rests), name="work")
        assert [at - begun[0] for at in begun] == [0, 1, 3]
        assert fence.faults == {"work": 2}

    run(main)


@pytest.mark.parametrize("error", [ValueError("no"), asyncio.CancelledError(), TimeoutError(), Outrageous()])
def test_whatever_an_asked_hook_raises_is_a_failed_hook_with_its_cause(error: BaseException) -> None:
    async def main() -> None:
        fence = Fence("zerodha")

        async def hook() -> int:
            raise error

        with pytest.raises(HookFailed, match=f"provider raised {type(error).__name__}") as caught:
            await fence.ask(hook, name="provider", seconds=5)
        assert caught.value.__cause__ is error
        assert fence.faults == {"provider": 1}

    run(main)


def test_what_belongs_to_the_contract_of_a_hook_passes_and_is_no_fault() -> None:
    async def main() -> None:
        fence = Fence("zerodha")

        async def hook() -> int:
            raise LookupError

        with pytest.raises(LookupError):
            await fence.ask(hook, name="provider", seconds=5, passes=(LookupError,))
        assert not fence.faults

    run(main)


def test_no_text_of_a_hook_that_sees_secrets_is_logged_nor_the_line_of_its_source(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async def hook() -> int:
            raise ValueError("password-in-the-source")

        with pytest.raises(HookFailed) as caught:
            await Fence("zerodha").ask(hook, name="provider", seconds=5)
        assert "password" not in str(caught.value)

    run(main)
    assert "provider raised ValueError in hook, " in caplog.text
    assert "test_callback_isolation.py:" in caplog.text
    assert "password" not in caplog.text


def test_a_hook_that_hangs_and_ignores_its_cancellation_costs_its_time_and_is_left_behind() -> None:
    async def main() -> None:
        fence = Fence("zerodha")
        loop = asyncio.get_running_loop()
        released = asyncio.Event()

        async def stubborn() -> int:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue
            return 1

        for _ in range(MOST_GIVEN_UP):
            begun = loop.time()
            with pytest.raises(HookFailed, match="did not answer within 5 s"):
                await fence.ask(stubborn, name="provider", seconds=5)
            assert loop.time() - begun == 5
        with pytest.raises(HookFailed, match="was not called"):
            await fence.ask(stubborn, name="provider", seconds=5)
        released.set()
        await asyncio.sleep(1)
        assert await fence.ask(stubborn, name="provider", seconds=5) == 1

    run(main)


def test_whoever_asks_and_is_cancelled_takes_the_hook_with_him() -> None:
    async def main() -> None:
        ended: list[str] = []

        async def hook() -> int:
            try:
                return await asyncio.sleep(60, 1)
            finally:
                ended.append("hook")

        task = asyncio.create_task(Fence("zerodha").ask(hook, name="provider", seconds=5))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        await asyncio.sleep(0)
        assert ended == ["hook"]

    run(main)


def test_a_hook_is_refused_where_nobody_would_await_it() -> None:
    async def late() -> None: ...

    class Late:
        async def __call__(self) -> None: ...

    for hook in (late, Late(), None, "ticked"):
        with pytest.raises(TypeError, match="carried has to be a"):
            check_plain(carried=hook)
    check_plain(carried=Watcher().ticked)


def test_a_hook_is_named_as_its_owner_knows_it() -> None:
    assert name_of(Watcher().ticked) == "Watcher.ticked"
    assert name_of(raises(KeyError())) == "hook"
    assert name_of(threading.Thread) == "Thread"


def test_a_supervised_coroutine_that_is_closed_ends() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        fence = Fence("test")
        supervised = fence.supervise(work, lambda: 1.0, name="work")
        supervised.send(None)
        supervised.close()
        assert fence.faults == {}

    asyncio.run(main())
