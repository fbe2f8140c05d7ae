"""The gateway's own tests once more, over an upstream whose answers and news come late and out of order."""

from __future__ import annotations

import asyncio

import pytest

from tests.gateway_client import gateway
from tests.late_upstream import LateUpstream
from tests.unit import test_gateway_database
from tests.unit.gateway_tests import MODULES, collected, modules, stand_over

_FURTHER = modules(
    "test_access",
    "test_dashboard_figures",
    "test_dashboard_stream",
    "test_departed_clients",
    "test_gateway_hostile_clients",
    "test_gateway_strangers",
    "test_gateway_tls",
    "test_gateway_turns",
    "test_monitor_stats",
    "test_monitor_watched",
    "test_gateway_database",
    "test_refusal_log",
    "test_rest_browsers",
)
#: Those that start the gateway as a process of its own, or in which nobody subscribes for half a minute; one
#: that measures turns of the loop, of which the stand-in's own work would be a part; and one of several
#: accounts, which are no pool.
_ELSEWHERE = {
    "test_of_several_accounts_each_number_of_each_is_described_and_in_the_metrics_under_its_name",
    "test_lists_of_any_length_hold_the_loop_for_a_bounded_time",
    "test_the_product_runs_on_stored_keys_and_logins_alone_and_a_new_login_needs_no_restart",
    "test_thousands_of_wrong_keys_slow_no_right_one_and_end_in_a_lock_out_of_their_address",
}
url = test_gateway_database.url

globals().update(collected((*MODULES, *_FURTHER), _ELSEWHERE))


@pytest.fixture(autouse=True)
def _late(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_over(monkeypatch, LateUpstream)


def test_the_gateway_of_these_tests_stands_over_a_late_upstream() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            assert isinstance(served_by.upstream, LateUpstream)

    asyncio.run(main())
