"""New logins that come while the gateway runs: each is tried once, whoever found it first."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from brokerpool import Credentials
from brokerpool.brokers import registry
from brokerpool.brokers.login import Login
from brokerpool.gateway.broker_login_trial import LoginTrial
from brokerpool.settings import Settings
from brokerpool.simulator.zerodha.broker import KiteSimulator


@pytest.mark.parametrize("pool_was_first", [False, True])
def test_a_new_login_is_tried_once_and_told_whose_it_is_whoever_found_it_first(
    pool_was_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with KiteSimulator(rate=0) as broker:
            settings = Settings.load(
                environ={
                    "BROKERPOOL_BROKER_API_KEY": broker.api_key,
                    "BROKERPOOL_BROKER_HTTP_URL": broker.http_url,
                    "BROKERPOOL_API_KEY": "a-key-for-the-gateway",
                }
            )
            login = Login(Credentials("yesterdays-token"))
            session = registry.broker(settings.broker).session(settings.accounts()[0].access())
            trial = LoginTrial(session, login, settings.accounts()[0])
            await trial.run()
            assert login.refused
            found = Credentials(broker.access_token)
            if pool_was_first:
                login.renew(found)

            async def logins() -> AsyncIterator[Credentials]:
                yield found
                yield found

            await trial.follow(logins())
            assert login.credentials.user == "SIM001"

    with caplog.at_level(logging.INFO, "brokerpool.gateway"):
        asyncio.run(asyncio.wait_for(main(), 30))
    told = [record.getMessage() for record in caplog.records]
    assert sum(text.startswith("logged in as SIM001") for text in told) == 1
