"""What tests of logins share: a provider that answers when it is let, invented time, no task left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from brokerpool.brokers.login import Credentials
from tests.rehearsal import no_task_dies

NOW = 1_700_000_000.0


class Provider:
    """Answers when the test lets it; counts the questions that are open and the most at one time."""

    def __init__(self) -> None:
        self.questions: list[asyncio.Future[Credentials]] = []
        self.open = self.most = 0

    async def __call__(self) -> Credentials:
        question: asyncio.Future[Credentials] = asyncio.get_running_loop().create_future()
        self.questions.append(question)
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            return await question
        finally:
            self.open -= 1

    def answer(self, token: str, expires_at: float | None = None) -> None:
        self.questions[-1].set_result(Credentials(token, expires_at))


async def turns(count: int = 5) -> None:
    """Let everything that is due happen."""
    for _ in range(count):
        await asyncio.sleep(0)


def run(main: Callable[[], Any]) -> None:
    async def checked() -> None:
        async with no_task_dies():
            await main()
            await turns()
            assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"

    asyncio.run(checked())
