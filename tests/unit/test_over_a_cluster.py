"""The gateway's own tests once more, over a bus to a feed node that holds the account."""

from __future__ import annotations

import asyncio

import pytest

from tests.clustered_upstream import ClusteredGateway, ClusteredUpstream
from tests.gateway_client import gateway
from tests.unit.gateway_tests import MODULES, collected, stand_over

globals().update(collected(MODULES, ()))


@pytest.fixture(autouse=True)
def _over_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_over(monkeypatch, ClusteredUpstream, ClusteredGateway)


def test_the_gateway_of_these_tests_stands_over_a_cluster() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            assert isinstance(served_by.upstream, ClusteredUpstream)

    asyncio.run(main())
