"""The loop's thread ends while others call into it: each of them gets its answer, or is told."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from brokerpool.errors import PoolClosedError
from brokerpool.sync.loop import LoopThread


def test_a_call_at_the_end_of_the_thread_is_answered_or_told_and_never_left_waiting() -> None:
    for _ in range(60):
        loop = LoopThread("the pool")
        answered, told = [0], [0]
        begun = threading.Barrier(4)

        def calls(loop: LoopThread, begun: threading.Barrier, answered: list[int], told: list[int]) -> None:
            begun.wait()
            while True:
                try:
                    assert loop.call(lambda: 7) == 7
                    answered[0] += 1
                except PoolClosedError:
                    told[0] += 1
                    return

        threads = [threading.Thread(target=calls, args=(loop, begun, answered, told)) for _ in range(3)]
        for thread in threads:
            thread.start()
        begun.wait()
        loop.call(lambda: None)
        loop.close()
        for thread in threads:
            thread.join(5)
            assert not thread.is_alive()
        assert told[0] == 3


def test_who_waits_for_something_long_is_told_that_it_is_closed() -> None:
    loop = LoopThread("the pool")
    told: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(PoolClosedError) as caught:
            loop.run(asyncio.sleep(3600), 3600)
        told.append(caught.value)

    thread = threading.Thread(target=wait)
    thread.start()
    loop.call(lambda: None)
    began = time.monotonic()
    while not loop.call(lambda: len(asyncio.all_tasks()) > 1):
        assert time.monotonic() - began < 5
    loop.close()
    loop.close()
    thread.join(5)
    assert "the pool is closed" in str(told[0])
    with pytest.raises(PoolClosedError):
        loop.call(lambda: None)
