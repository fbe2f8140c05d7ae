"""Feed nodes and gateways in virtual time: take-overs, hand-overs, wishes, and what gateways are told."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool import BrokerpoolError, Instrument, Mode
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.cluster.bus import BusError
from brokerpool.cluster.lease_keeper import LeaseKeeper
from brokerpool.cluster.subjects import LEASES, NODES, wish_key
from brokerpool.errors import ErrorCode
from brokerpool.feed.listeners import PoolListener
from brokerpool.testing.virtual_loop import run
from tests.simulation.cluster_scene import SYMBOLS, cluster
from tests.simulation.cluster_stage import ACCOUNT
from tests.virtual_bus import Faults


def test_a_standby_has_every_symbol_tick_again_within_five_seconds_of_a_kill() -> None:
    async def main() -> None:
        async with cluster("a", "b") as scene:
            witness = await scene.watched("g")
            holder = next(node for node in scene.nodes if node.node.held)
            scene.processes.stop(holder)
            holder.bus.close()
            scene.broker.kill_sockets_of(holder)
            await scene.until(lambda: len(witness.dark()) == len(SYMBOLS), 5)
            await scene.until(lambda: not witness.dark(), 5 - 1.5)
            assert witness.gaps == len(SYMBOLS), "one gap a symbol"
            assert not witness.problems
            scene.processes.go_on(holder)

    run(main)


async def _stopped_with_messages_to_send() -> None:
    async with cluster("a", "b", batch_size=1, account_messages=(RateWindow(1, 1.0),)) as scene:
        gateway, witness = await scene.gateway("g")
        await gateway.upstream.want("me", SYMBOLS, Mode.QUOTE)
        witness.look(set(SYMBOLS))
        await scene.until(lambda: len(witness.silent()) < len(SYMBOLS), 5)
        holder = next(node for node in scene.nodes if node.node.held)
        scene.processes.stop(holder)
        await asyncio.sleep(9)
        assert [scene.broker.makers[s.number] for s in scene.broker.sockets].count(holder) == 1
        assert len(scene.broker.sockets) == 2, "its own is open still, as far as the broker knows"
        scene.processes.go_on(holder)
        await asyncio.sleep(1)
        assert not holder.node.held
        assert holder not in [scene.broker.makers[s.number] for s in scene.broker.sockets]


def test_a_holder_that_was_stopped_for_three_times_its_lease_closes_before_it_sends_another_message() -> None:
    run(_stopped_with_messages_to_send)


def test_a_guard_that_is_not_asked_before_each_message_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LeaseKeeper, "holds", lambda self: True)
    with pytest.raises(AssertionError, match=r"a message of epoch [0-9]+ after one of"):
        run(_stopped_with_messages_to_send)


@pytest.mark.parametrize("latest", [0.0, 0.02])  # a store's news may come later than an answer of it
@pytest.mark.parametrize(("size", "sockets"), [(6, 1), (2, 3)])
def test_a_node_that_ends_hands_over_with_the_successors_sockets_live_first_where_there_is_room(
    size: int, sockets: int, latest: float
) -> None:
    async def main() -> None:
        async with cluster("a", "b", size=size) as scene:
            scene.server.faults = Faults(latency=(0.0, latest))
            witness = await scene.watched("g")
            holder = next(node for node in scene.nodes if node.node.held)
            standby = next(node for node in scene.nodes if not node.node.held)
            assert len(scene.broker.sockets) == sockets
            most = 0
            closing = holder.begin(holder.node.close())
            while not closing.done():
                most = max(most, len(scene.broker.sockets))
                await asyncio.sleep(0.01)
            scene.nodes.remove(holder)
            assert most == (2 if sockets == 1 else 3)
            await scene.until(lambda: standby.node.held and not witness.dark(), 3)
            assert not witness.problems

    run(main)


def test_a_successor_relieves_nobody_before_its_broker_has_been_asked_for_every_symbol() -> None:
    async def main() -> None:
        async with cluster("a", "b", batch_size=1, control_messages=(RateWindow(2, 1.0),)) as scene:
            witness = await scene.watched("g")
            holder = next(node for node in scene.nodes if node.node.held)
            await holder.begin(holder.node.close())  # its symbols take three seconds to be asked for again
            scene.nodes.remove(holder)
            await asyncio.sleep(3)
            assert witness.gaps == 0
            assert not witness.silent(scene.loop.wall_clock() * 1000 - 2000)
            assert not witness.problems

    run(main)


def test_an_account_that_cannot_be_freed_keeps_no_other_from_being_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def unanswered(keeper: LeaseKeeper) -> bool:
        raise BusError("The store has not answered.")

    async def main() -> None:
        async with cluster("a", accounts=("one", "two")) as scene:
            gateway, witness = await scene.gateway("g", "two")
            await gateway.upstream.want("me", SYMBOLS, Mode.QUOTE)
            witness.look(set(SYMBOLS))
            await scene.until(lambda: not witness.silent(), 5)
            (leaving,) = scene.nodes
            await gateway.bus.store(NODES).put(wish_key("two"), b"a")
            other = scene.node("b", "two")
            await asyncio.sleep(2)
            assert set(leaving.node.held) == {"one", "two"}
            monkeypatch.setattr(LeaseKeeper, "give_up", unanswered)
            await leaving.begin(leaving.node.close())
            scene.nodes.remove(leaving)
            monkeypatch.undo()
            assert set(other.node.held) == {"two"}
            await asyncio.sleep(3)
            assert witness.gaps == 0
            assert not witness.problems

    run(main)


def test_an_operators_wish_moves_an_account_and_it_stays_there() -> None:
    async def main() -> None:
        async with cluster("a", "b") as scene:
            await scene.gateway("g")
            holder = next(node for node in scene.nodes if node.node.held)
            other = next(node for node in scene.nodes if not node.node.held)
            wish = other.node.node.encode()
            await scene.gateways[0].bus.store(NODES).put(wish_key(ACCOUNT), wish)
            await scene.until(lambda: other.node.held and not holder.node.held, 5)
            await asyncio.sleep(10)
            assert other.node.held

    run(main)


def test_a_node_that_could_not_tell_that_an_account_is_free_takes_it_again_where_nobody_else_does() -> None:
    async def main() -> None:
        async with cluster("a", "b", size=2) as scene:  # every socket is in use: it closes them and frees it
            witness = await scene.watched("g")
            holder = next(node for node in scene.nodes if node.node.held)
            other = next(node for node in scene.nodes if not node.node.held)
            lease = holder.node._keepers[ACCOUNT].lease
            before = lease.held_until
            await scene.until(lambda: lease.held_until != before, 1)
            holder.bus.cut(sends=False, hears=True)  # before its next renewal, which would have no answer
            await scene.gateways[0].bus.store(NODES).put(wish_key(ACCOUNT), other.node.node.encode())
            await scene.until(lambda: not holder.node.held, 0.4)
            scene.kill(other)
            await asyncio.sleep(4)
            holder.bus.cut(sends=True, hears=True)
            returned = scene.loop.wall_clock() * 1000
            await scene.until(lambda: holder.node.held and not witness.silent(returned), 10)
            assert not witness.problems

    run(main)


def test_what_does_not_fit_is_refused_with_the_feed_nodes_reason_and_fits_once_another_gateway_lets_go() -> (
    None
):
    async def main() -> None:
        async with cluster("a", size=1) as scene:
            one, _ = await scene.gateway("one")
            two, _ = await scene.gateway("two")
            assert len((await one.upstream.want("me", SYMBOLS[:3], Mode.QUOTE)).accepted) == 3
            done = await two.upstream.want("me", [*SYMBOLS[2:5], Instrument("NSE", "NONE")], Mode.QUOTE)
            assert done.accepted == (SYMBOLS[2],), "what another one has already takes no room"
            codes = {refused.instrument.symbol: refused.code for refused in done.refused}
            assert codes == {
                "S004": ErrorCode.MAX_CAPACITY_REACHED,
                "S005": ErrorCode.MAX_CAPACITY_REACHED,
                "NONE": ErrorCode.SYMBOL_NOT_FOUND,
            }
            assert "3 of 3 places are taken" in done.refused[0].message
            one.upstream.release("me", SYMBOLS[:2])
            await asyncio.sleep(0.1)
            assert len((await two.upstream.want("me", SYMBOLS[3:5], Mode.QUOTE)).accepted) == 2
            assert two.upstream.demand.instruments("me") == (SYMBOLS[2], SYMBOLS[3], SYMBOLS[4])

    run(main)


def test_the_highest_mode_and_priority_of_all_gateways_count_and_fall_when_one_of_them_dies() -> None:
    async def main() -> None:
        async with cluster("a") as scene:
            one, _ = await scene.gateway("one")
            two, _ = await scene.gateway("two")
            await one.upstream.want("me", SYMBOLS[:1], Mode.LTP, 1)
            await two.upstream.want("me", SYMBOLS[:1], Mode.DEPTH, 7)
            pool = scene.nodes[0].node.held[ACCOUNT].upstream
            assert pool.demand.mode(SYMBOLS[0]) is Mode.DEPTH
            assert pool.demand.priority(SYMBOLS[0]) == 7
            scene.processes.stop(two)
            two.bus.close()
            scene.gateways.remove(two)
            took = await scene.until(lambda: pool.demand.mode(SYMBOLS[0]) is Mode.LTP, 6)
            assert took > 3, "a gateway that is only slow is not given up"
            assert pool.demand.priority(SYMBOLS[0]) == 1
            scene.processes.go_on(two)
            await two.begin(two.upstream.close())

    run(main)


def test_a_gateway_that_joins_has_the_last_values_at_once_and_one_that_leaves_is_forgotten_at_once() -> None:
    async def main() -> None:
        async with cluster("a") as scene:
            await scene.watched("one")
            scene.broker.muted.update(range(1, 7))
            two, second = await scene.gateway("two")
            second.look(set(SYMBOLS))
            await two.upstream.want("me", SYMBOLS, Mode.QUOTE)
            await asyncio.sleep(0.05)
            assert not second.silent()
            scene.gateways.remove(two)
            await two.begin(two.upstream.close())
            await asyncio.sleep(0.05)
            assert scene.nodes[0].node.held[ACCOUNT].upstream.demand.holders() == ("one",)

    run(main)


def test_a_want_that_no_feed_node_answers_ends_with_an_error_and_wants_nothing_more() -> None:
    async def main() -> None:
        async with cluster("a") as scene:
            gateway, _ = await scene.gateway("g")
            scene.server.stop()
            answer = gateway.upstream.want("me", SYMBOLS[:2], Mode.QUOTE)
            began = scene.loop.time()
            with pytest.raises(BrokerpoolError) as error:
                await answer
            assert error.value.code is ErrorCode.FEED_UNREACHABLE
            assert scene.loop.time() - began < 11
            assert not gateway.upstream.connected
            scene.server.start()
            await asyncio.sleep(8)
            assert scene.nodes[0].node.held
            assert not scene.broker.served()

    run(main)


def test_order_updates_reach_the_gateways_and_a_hole_in_them_is_told_as_a_lost_connection() -> None:
    class Orders(PoolListener):
        def __init__(self) -> None:
            self.told: list[str] = []

        def order_updated(self, update: str | bytes) -> None:
            self.told.append(str(update))

        def connection_changed(self, name: str, state: str, reason: str) -> None:
            self.told.append(state)

    async def main() -> None:
        async with cluster("a") as scene:
            gateway, _ = await scene.gateway("g")
            orders = Orders()
            await gateway.upstream.want("me", SYMBOLS[:1], Mode.QUOTE)
            gateway.upstream.listen(orders)
            await scene.until(lambda: "live" in orders.told, 5)
            held = scene.nodes[0].node.held[ACCOUNT]
            held.order_updated("first")
            await asyncio.sleep(0.1)
            gateway.bus.cut(sends=True, hears=False)
            held.order_updated("lost")
            await asyncio.sleep(0.1)
            gateway.bus.cut(sends=True, hears=True)
            await asyncio.sleep(2)
            held.order_updated("third")
            await asyncio.sleep(0.1)
            told = [what for what in orders.told[orders.told.index("first") :] if what != "dialling"]
            assert told == ["first", "stale", "live", "third"]

    run(main)


def test_a_lease_that_nobody_else_wants_is_freed_by_a_node_that_ends() -> None:
    async def main() -> None:
        async with cluster("a") as scene:
            await scene.gateway("g")
            (node,) = scene.nodes
            await node.begin(node.node.close())
            scene.nodes.clear()
            began = scene.loop.time()
            scene.node("b")
            await scene.until(lambda: scene.nodes[0].node.held, 1)
            assert scene.loop.time() - began < 1, "no lease has to run out"
            assert await scene.gateways[0].bus.store(LEASES).get(ACCOUNT) is not None

    run(main)


def test_a_holder_whose_signs_are_heard_and_that_hears_nothing_is_replaced() -> None:
    async def main() -> None:
        async with cluster("a", "b") as scene:
            witness = await scene.watched("g")
            holder = next(node for node in scene.nodes if node.node.held)
            standby = next(node for node in scene.nodes if not node.node.held)
            holder.bus.cut(sends=True, hears=False)
            await scene.until(witness.dark, 5)
            await scene.until(lambda: standby.node.held and not witness.dark(), 6)
            holder.bus.cut(sends=True, hears=True)
            await asyncio.sleep(10)
            assert standby.node.held, "it is not given back at once"
            assert not witness.problems

    run(main)
