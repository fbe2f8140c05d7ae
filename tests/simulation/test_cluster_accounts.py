"""Several accounts at the gateways of a cluster: overflow, cover, homecoming, and who decides."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool import BrokerpoolError, Instrument, Mode
from brokerpool.cluster.demand_merge import DemandMerge
from brokerpool.errors import ErrorCode
from brokerpool.event_journal import Event
from brokerpool.testing.virtual_loop import run
from tests.simulation.cluster_scene import SYMBOLS, ClusterScene, cluster
from tests.simulation.cluster_stage import GatewayProcess
from tests.simulation.cluster_witness import GatewayWitness

BOTH = ("one", "two")
NAMES = [i.symbol for i in SYMBOLS]
#: Two sockets for two symbols each.
FOUR = {"size": 2, "max_connections": 2}


async def wanting(
    scene: ClusterScene, gateway: str, symbols: list[Instrument], *accounts: str
) -> tuple[GatewayProcess, GatewayWitness]:
    """Give a gateway at which these tick."""
    process, witness = await scene.gateway(gateway, *accounts)
    witness.look(set(symbols))
    done = await process.upstream.want("me", symbols, Mode.QUOTE)
    assert not done.refused
    await scene.until(lambda: not witness.silent(), 10)
    await asyncio.sleep(4)  # from then on it counts as well where it is
    return process, witness


def test_what_the_first_account_has_no_room_for_goes_to_the_next_and_all_gateways_find_the_same() -> None:
    async def main() -> None:
        async with cluster("a", "b", accounts=BOTH, **FOUR) as scene:
            first, witness = await wanting(scene, "g", SYMBOLS)
            assert scene.served() == [NAMES[:4], NAMES[4:]]
            _, other = await wanting(scene, "h", list(reversed(SYMBOLS)))
            assert scene.served() == [NAMES[:4], NAMES[4:]], "no account carries a symbol besides another one"
            assert first.upstream.account(SYMBOLS[5]) == "two"
            told = first.upstream.inspection.explain(SYMBOLS[5]).why
            assert "Its account is two. No room for it at one." in told
            assert witness.gaps == other.gaps == 0
            assert not witness.problems + other.problems

    run(main)


def test_a_symbol_goes_to_the_account_of_first_preference_without_a_gap_once_that_has_room() -> None:
    async def main() -> None:
        async with cluster("a", "b", accounts=BOTH, **FOUR) as scene:
            gateways = [await wanting(scene, name, SYMBOLS) for name in ("g", "h")]
            for process, witness in gateways:
                process.upstream.release("me", SYMBOLS[:1])
                witness.look(set(SYMBOLS[1:]))
            await scene.until(lambda: list(map(len, scene.served())) == [4, 1], 10)
            await asyncio.sleep(3)
            for _, witness in gateways:
                assert not witness.dark()
                assert witness.gaps == 0
                assert not witness.problems

    run(main)


def test_what_no_account_has_room_for_is_refused_with_the_numbers_of_each() -> None:
    async def main() -> None:
        async with cluster("a", accounts=BOTH, size=1, max_connections=2) as scene:
            process, _ = await scene.gateway("g")
            done = await process.upstream.want("me", SYMBOLS, Mode.QUOTE)
            assert len(done.accepted) == 4
            assert {why.code for why in done.refused} == {ErrorCode.MAX_CAPACITY_REACHED}
            assert all("one: " in why.message and "two: " in why.message for why in done.refused)
            await scene.until(lambda: list(map(len, scene.served())) == [2, 2], 5)

    run(main)


def test_an_account_whose_token_dies_is_covered_with_one_gap_a_symbol_and_has_them_back_without_another() -> (
    None
):
    async def main() -> None:
        async with cluster("a", "b", accounts=BOTH) as scene:
            gateways = [await wanting(scene, name, SYMBOLS) for name in ("g", "h")]
            assert scene.served() == [NAMES, []]
            scene.accounts[0].die()
            await scene.until(lambda: scene.served() == [[], NAMES], 10)
            for process, witness in gateways:
                await scene.until(lambda: not any(seen.dark() for _, seen in gateways), 3)
                assert witness.gaps == len(SYMBOLS)
                assert {process.upstream.account(i) for i in SYMBOLS} == {"two"}
                assert len(process.upstream.inspection.guests(10)) == len(SYMBOLS)
                assert process.upstream.symbols_down == 0
            await asyncio.sleep(5)
            scene.accounts[0].log_in()
            await scene.until(lambda: scene.served() == [NAMES, []], 15)
            for _, witness in gateways:
                assert not witness.dark()
                assert witness.gaps == len(SYMBOLS), "the way home is none"
                assert not witness.problems

    run(main)


def test_a_gap_ends_with_the_next_tick_of_an_account_that_let_go_of_the_symbol_in_it_and_has_it_back() -> (
    None
):
    async def main() -> None:
        async with cluster(accounts=BOTH) as scene:
            holder, _ = scene.node("a", "one"), scene.node("b", "two")
            process, witness = await wanting(scene, "g", SYMBOLS[:1])
            placement = process.upstream._placement
            one, way = placement.feeding(SYMBOLS[0]), process.upstream._accounts.table.ways[SYMBOLS[0]]
            for account in scene.accounts:
                account.broker.snapshots = False
                account.broker.muted.add(1)
            scene.kill(holder)
            await scene.until(lambda: way.guest is not None, 10)
            placement.delisted(one, SYMBOLS[:1])
            assert placement.feeding(SYMBOLS[0]).name == "two"
            scene.node("c", "one")
            await scene.until(lambda: way.home == one.number, 5)
            await asyncio.sleep(5)
            scene.broker.muted.clear()
            await scene.until(lambda: not witness.dark(), 3)
            await scene.until(lambda: scene.served() == [["S001"], []], 3)
            assert not witness.problems

    run(main)


def test_a_killed_node_is_replaced_by_its_standby_before_other_accounts_have_to_cover_for_it() -> None:
    async def main() -> None:
        async with cluster("a", "b", accounts=BOTH) as scene:
            _, witness = await wanting(scene, "g", SYMBOLS)
            scene.kill(next(node for node in scene.nodes if "one" in node.node.held))
            await scene.until(lambda: len(witness.dark()) == len(SYMBOLS), 5)
            assert await scene.until(lambda: not witness.dark(), 5) < 3.5
            assert scene.served() == [NAMES, []]
            assert witness.gaps == len(SYMBOLS)
            assert not witness.problems

    run(main)


def test_an_account_whose_last_node_is_killed_is_covered_after_the_grace() -> None:
    async def main() -> None:
        async with cluster(accounts=BOTH) as scene:
            first = scene.node("a", "one")
            scene.node("b", "two")
            process, witness = await wanting(scene, "g", SYMBOLS)
            scene.kill(first)
            took = await scene.until(lambda: len(scene.served()[1]) == len(SYMBOLS), 10)
            assert 5.0 < took < 8.5
            await scene.until(lambda: not witness.dark(), 3)
            assert witness.gaps == len(SYMBOLS)
            # What is new while it is gone waits for nobody.
            process.upstream.release("me", SYMBOLS[:1])
            witness.look(set(SYMBOLS[1:]))
            done = await process.upstream.want("me", SYMBOLS[:1], Mode.QUOTE)
            assert done.accepted == (SYMBOLS[0],)
            witness.look(set(SYMBOLS))
            await scene.until(lambda: not witness.silent(), 3)
            scene.node("c", "one")
            await scene.until(lambda: scene.served() == [NAMES, []], 15)
            assert not witness.dark()
            assert not witness.problems

    run(main)


async def _guests_yield() -> None:
    async with cluster("a", "b", accounts=BOTH, **FOUR) as scene:
        process, witness = await wanting(scene, "g", SYMBOLS[:4])
        scene.accounts[0].die()
        await scene.until(lambda: scene.served() == [[], NAMES[:4]], 10)
        other, seen = await scene.gateway("h")
        done = await other.upstream.want("me", SYMBOLS[4:5], Mode.QUOTE)
        assert done.accepted == (SYMBOLS[4],), "its home has it, and the other account is full of guests"
        seen.look({SYMBOLS[4]})
        await scene.until(lambda: not seen.silent(), 5)
        assert len(scene.served()[1]) == 4
        assert NAMES[4] in scene.served()[1]
        await scene.until(lambda: len(witness.dark()) == 1, 3)
        assert process.upstream.symbols_down == 1
        scene.accounts[0].log_in()
        await scene.until(lambda: scene.served() == [NAMES[:4], NAMES[4:5]], 15)
        assert not witness.dark()
        assert not witness.problems + seen.problems


def test_guests_of_one_gateway_give_their_places_to_what_is_at_home_there_of_another() -> None:
    run(_guests_yield)


def test_a_node_whose_guests_keep_their_places_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DemandMerge, "_make_room", lambda self, how, symbols: False)
    with pytest.raises(AssertionError, match="full of guests"):
        run(_guests_yield)


def test_an_account_that_a_node_brings_later_is_used_by_gateways_that_run() -> None:
    async def main() -> None:
        async with cluster(accounts=BOTH, **FOUR) as scene:
            scene.node("a", "one")
            process, witness = await wanting(scene, "g", SYMBOLS[:4], "one")
            done = await process.upstream.want("me", SYMBOLS[4:], Mode.QUOTE)
            assert len(done.refused) == 2
            scene.node("b", "two")
            process.run(lambda: process.upstream.have(BOTH))
            await scene.until(lambda: len(process.upstream.accounts()) == 2, 10)
            done = await process.upstream.want("me", SYMBOLS[4:], Mode.QUOTE)
            assert len(done.accepted) == 2
            witness.look(set(SYMBOLS))
            await scene.until(lambda: not witness.silent(), 5)
            assert scene.served() == [NAMES[:4], NAMES[4:]]
            assert witness.gaps == 0
            assert not witness.problems
            told = [(e.event, e.connection) for e in process.upstream.journal.entries()]
            assert (Event.ACCOUNT_JOINED, "two") in told

    run(main)


def test_an_account_that_is_gone_for_good_is_told_and_others_are_home_of_what_they_list() -> None:
    async def main() -> None:
        async with cluster(accounts=BOTH) as scene:
            first = scene.node("a", "one")
            scene.node("b", "two")
            process, witness = await wanting(scene, "g", SYMBOLS)
            scene.kill(first)
            await scene.until(lambda: len(scene.served()[1]) == len(SYMBOLS), 10)
            process.run(lambda: process.upstream.have(BOTH, {"one"}))
            await scene.until(lambda: not process.upstream.inspection.guests(10), 5)
            assert [status.name for status in process.upstream.accounts()] == ["two"]
            assert scene.served() == [[], NAMES]
            told = [(e.event, e.connection) for e in process.upstream.journal.entries()]
            assert (Event.ACCOUNT_GONE, "one") in told
            assert not witness.dark()
            assert not witness.problems

    run(main)


def test_explain_names_the_connection_and_says_so_when_the_node_does_not_answer() -> None:
    async def main() -> None:
        async with cluster("a", accounts=BOTH, **FOUR) as scene:
            process, _ = await wanting(scene, "g", SYMBOLS)
            inspection = process.upstream.inspection
            told = [await inspection.explained(i) for i in (SYMBOLS[0], SYMBOLS[5])]
            assert [[c.name for c in each.carriers] for each in told] == [["one-1"], ["two-1"]]
            assert "The feed node a holds two." in told[1].why
            scene.processes.stop(scene.nodes[0])
            asked_at = scene.loop.time()
            late = await process.begin(inspection.explained(SYMBOLS[0]))
            assert scene.loop.time() - asked_at <= 1.1
            assert late.carriers == ()
            assert "one was asked which connection carries it, and has not answered." in late.why

    run(main)


def test_a_gateway_starts_with_the_accounts_that_are_there_and_takes_the_others_once_they_come() -> None:
    async def main() -> None:
        async with cluster(accounts=BOTH, **FOUR) as scene:
            scene.node("a", "two")
            began = scene.loop.time()
            process, witness = await wanting(scene, "g", SYMBOLS[:4])
            assert scene.loop.time() - began < 15
            assert scene.served() == [[], NAMES[:4]]
            scene.node("b", "one")
            await scene.until(lambda: scene.served() == [NAMES[:4], []], 15)
            assert process.upstream.account(SYMBOLS[0]) == "one"
            assert witness.gaps == 0
            assert not witness.problems

    run(main)


def test_a_gateway_without_any_account_does_not_start() -> None:
    async def main() -> None:
        async with cluster(accounts=BOTH) as scene:
            with pytest.raises(BrokerpoolError, match="no instrument list of one, two came") as caught:
                await scene.gateway("g")
            assert caught.value.code is ErrorCode.FEED_UNREACHABLE

    run(main)
