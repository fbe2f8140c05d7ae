"""An upstream that answers late, in another order, or never: clients are told, and nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from brokerpool import ErrorCode, Instrument, Mode
from brokerpool.gateway.saved_demand import OWNER, SavedDemand
from brokerpool.gateway.subscriptions import ANSWER_SECONDS
from brokerpool.testing.virtual_loop import run
from tests.simulation.gateway_stage import SHARED_KEY, Program, gateway_stage, turns


def test_requests_behind_a_late_answer_wait_for_it_and_other_clients_go_on() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one, two, first = scene.program(), scene.program(), scene.instruments[0]
            one.subscribe(first)
            one.unsubscribe(first)
            await turns()
            one.ask(action="ping")
            two.ask(action="ping")
            await turns()
            assert (one.asked, two.asked) == ([], ["pong"])
            assert not one.reads, "what it sends beyond that stays in its socket"
            scene.answer()
            await turns()
            assert one.asked == ["subscribe", "unsubscribe", "pong"]
            assert one.reads
            assert scene.held(one) == scene.watches(one) == set()
            assert len(scene.upstream.demand) == 0

    run(main)


def test_a_client_that_waits_for_an_answer_and_sends_nothing_more_is_read_so_that_its_end_is_seen() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one = scene.program()
            one.subscribe(scene.instruments[0])
            await turns()
            assert one.reads
            scene.answer()
            await turns()

    run(main)


def test_answers_in_another_order_reach_those_who_asked() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one, two = scene.program(), scene.program()
            one.subscribe(scene.instruments[0])
            two.subscribe(scene.instruments[1], scene.instruments[0])
            await turns()
            scene.answer(1)
            await turns()
            assert (one.asked, two.asked) == ([], ["subscribe"])
            scene.answer()
            await turns()
            assert [symbols_of(p) for p in (one, two)] == [["S001"], ["S002", "S001"]]
            assert scene.held(one) == {(scene.instruments[0], Mode.LTP)}

    run(main)


def test_a_client_that_leaves_while_a_want_is_under_way_leaves_nothing_at_the_upstream() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one, two = scene.program(), scene.program()
            for program in (one, two):
                program.subscribe(*scene.instruments[:5])
            await turns()
            one.leave()
            await turns()
            scene.answer(1)
            scene.answer(0)
            await turns()
            assert scene.held(one) == set()
            assert len(scene.held(two)) == 5, "what others hold stays"
            assert scene.fanout.stats()["symbols"] == 5

    run(main)


def test_an_answer_that_never_comes_ends_in_an_error_and_nothing_more_is_asked_meanwhile() -> None:
    async def main() -> None:
        async with gateway_stage(symbols=200) as scene:
            one, two = scene.program(), scene.program()
            one.subscribe(*scene.instruments)
            await turns()
            assert len(scene.upstream.held_back) == 1, "the first slice of the list"
            await asyncio.sleep(ANSWER_SECONDS + 0.1)
            (told,) = one.replies[1:]
            assert (told["status"], len(told["subscriptions"])) == ("partial", 200)
            assert {item["code"] for item in told["subscriptions"]} == {"NOT_ANSWERED_IN_TIME"}
            assert scene.refusals.counts == Counter(NOT_ANSWERED_IN_TIME=200)
            assert scene.watches(one) == set()
            one.subscribe(scene.instruments[0])
            two.subscribe(scene.instruments[0])
            await turns()
            assert one.asked == ["subscribe", "subscribe"], "it is refused at once"
            assert len(scene.upstream.held_back) == 2, "and another client asks for itself"
            scene.answer(1)

    run(main)


def test_what_is_granted_too_late_is_released_and_what_the_client_had_before_stays() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one, (kept, late, *_) = scene.program(), scene.instruments
            one.subscribe(kept)
            await turns()
            scene.answer()
            one.subscribe(kept, late)
            await asyncio.sleep(ANSWER_SECONDS + 0.1)
            assert [item["status"] for item in one.replies[-1]["subscriptions"]] == ["error", "error"]
            scene.answer()
            await turns()
            assert scene.held(one) == scene.watches(one) == {(kept, Mode.LTP)}
            one.subscribe(late)
            await turns()
            scene.answer()
            await turns()
            assert scene.held(one) == scene.watches(one) == {(kept, Mode.LTP), (late, Mode.LTP)}

    run(main)


def test_an_answer_in_the_turn_of_its_deadline_counts_or_leaves_nothing() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one, loop = scene.program(), asyncio.get_running_loop()
            one.subscribe(scene.instruments[0])
            await turns()
            loop.call_later(ANSWER_SECONDS, scene.answer)
            await asyncio.sleep(ANSWER_SECONDS)
            await turns()
            held = {(scene.instruments[0], Mode.LTP)} if one.replies[-1]["status"] == "success" else set()
            assert scene.held(one) == scene.watches(one) == held

    run(main)


def test_a_late_refusal_is_told_with_its_reason_and_what_fits_is_taken() -> None:
    async def main() -> None:
        async with gateway_stage(per_connection=1, connections=1) as scene:
            one, (first, second, *_) = scene.program(), scene.instruments
            one.subscribe(first, second, Instrument("NSE", "NONE"))
            await turns()
            scene.answer()
            await turns()
            told = [item.get("code") for item in one.replies[-1]["subscriptions"]]
            assert told == [None, "MAX_CAPACITY_REACHED", "SYMBOL_NOT_FOUND"]
            assert scene.held(one) == scene.watches(one) == {(first, Mode.LTP)}

    run(main)


def test_an_answer_that_fails_refuses_what_was_asked_with_its_code() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one = scene.program()
            one.subscribe(scene.instruments[0])
            await turns()
            await scene.upstream.close()
            scene.answer()
            await turns()
            assert [item["code"] for item in one.replies[-1]["subscriptions"]] == [ErrorCode.POOL_CLOSED.name]
            assert scene.watches(one) == set()

    run(main)


def test_an_answer_that_fails_when_nobody_waits_any_more_is_no_fault() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one, two, saved = scene.program(), scene.program(), SavedDemand(scene.upstream, grace=5)
            for program in (one, two):
                program.subscribe(scene.instruments[0])
            await turns()
            one.leave()
            await saved.restore({scene.instruments[1]: Mode.LTP})
            assert two.asked == ["subscribe"]
            await scene.upstream.close()
            while scene.upstream.held_back:
                scene.answer()
            await turns()
            gc.collect()  # an exception that nobody has looked at is told to the loop now

    run(main)


def test_the_first_value_reaches_a_client_though_it_ticks_before_the_answer_is_heard() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            one, two, (first, *_) = scene.program(), scene.program(), scene.instruments
            two.subscribe(first)
            await turns()
            scene.answer()
            await scene.scene.until(lambda: two.frames, 30)
            one.subscribe(first)
            await turns()
            await scene.scene.until(lambda: one.frames, 30)
            assert one.asked == []
            scene.answer()
            await turns()
            assert one.asked == ["subscribe"]

    run(main)


def test_what_is_under_way_counts_for_the_share_of_a_key() -> None:
    async def main() -> None:
        async with gateway_stage(shared_symbols=3) as scene:
            one, two = scene.program(SHARED_KEY), scene.program(SHARED_KEY)
            one.subscribe(*scene.instruments[:2])
            two.subscribe(*scene.instruments[2:5])
            await turns()
            while scene.upstream.held_back:
                scene.answer(-1)
                await turns()
            codes = [item.get("code") for item in two.replies[-1]["subscriptions"]]
            assert codes == [None, "KEY_SYMBOL_LIMIT", "KEY_SYMBOL_LIMIT"]
            assert len(scene.upstream.demand) == 3

    run(main)


# -- the demand of the last run ---------------------------------------------------------------------------


def test_saved_demand_whose_answers_come_late_is_restored_and_gives_way_to_what_clients_want() -> None:
    async def main() -> None:
        async with gateway_stage(per_connection=2, connections=1) as scene:
            saved, (first, second, third, *_) = SavedDemand(scene.upstream, grace=60), scene.instruments
            task = asyncio.create_task(saved.restore({first: Mode.LTP, second: Mode.QUOTE}))
            await turns()
            scene.answer(1)
            scene.answer(0)
            await task
            assert set(scene.upstream.demand.instruments(OWNER)) == {first, second}
            one = scene.program(make_room=saved.make_room)
            one.subscribe(third)
            await turns()
            scene.answer()
            await turns()
            scene.answer()
            await turns()
            assert one.replies[-1]["status"] == "success"
            assert scene.upstream.demand.instruments() == (third,)

    run(main)


def test_what_was_granted_before_room_was_made_stays_though_the_second_answer_never_comes() -> None:
    async def main() -> None:
        async with gateway_stage(per_connection=3, connections=1) as scene:
            saved, (first, second, third, fourth, *_) = SavedDemand(scene.upstream), scene.instruments
            task = asyncio.create_task(saved.restore({first: Mode.LTP, second: Mode.LTP}))
            await turns()
            scene.answer()
            await task
            one = scene.program(make_room=saved.make_room)
            one.subscribe(third, fourth)
            await turns()
            scene.answer()
            await asyncio.sleep(ANSWER_SECONDS + 0.1)
            assert [item["status"] for item in one.replies[-1]["subscriptions"]] == ["success", "error"]
            scene.answer()
            await turns()
            assert scene.held(one) == scene.watches(one) == {(third, Mode.LTP)}

    run(main)


def test_a_restoration_ends_though_no_answer_comes_and_what_is_granted_after_the_grace_is_given_up() -> None:
    async def main() -> None:
        async with gateway_stage() as scene:
            saved, (first, second, *_) = SavedDemand(scene.upstream, grace=5), scene.instruments
            began = scene.scene.loop.time()
            await saved.restore({first: Mode.LTP, second: Mode.QUOTE})
            assert scene.scene.loop.time() - began <= 11
            scene.answer()
            await turns()
            assert scene.upstream.demand.instruments(OWNER) == (first,), "late, and in time for the clients"
            await saved.let_go()
            assert scene.upstream.demand.instruments() == ()
            scene.answer()
            await turns()
            assert scene.upstream.demand.instruments() == ()

    run(main)


# -- anything in any order --------------------------------------------------------------------------------

_SYMBOLS = st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("subscribe"), st.integers(0, 2), _SYMBOLS, st.sampled_from(Mode)),
        st.tuples(st.just("unsubscribe"), st.integers(0, 2), _SYMBOLS),
        st.tuples(st.just("leave"), st.integers(0, 2)),
        st.tuples(st.just("answer"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.sampled_from((0.0, 4.0, ANSWER_SECONDS))),
    ),
    max_size=25,
)


@given(_STEPS, st.booleans())
def test_whatever_comes_late_each_client_holds_what_it_was_told_and_who_has_left_holds_nothing(
    steps: list[tuple[Any, ...]], takes_at_once: bool
) -> None:
    async def main() -> None:
        # Three places for five symbols: some are refused, and which depends on the order of the answers.
        async with gateway_stage(per_connection=3, connections=1) as scene:
            scene.upstream.takes_at_once = takes_at_once
            programs = [scene.program() for _ in range(3)]
            asked: dict[Program, list[str]] = {program: [] for program in programs}
            for step in steps:
                match step:
                    case ("answer", which) if which < len(scene.upstream.held_back):
                        scene.answer(which)
                    case ("wait", seconds):
                        await asyncio.sleep(seconds)
                    case ("leave", who) if not programs[who].closed:
                        programs[who].leave()
                    case ("subscribe", who, which, mode) if not programs[who].closed:
                        programs[who].subscribe(*(scene.instruments[n] for n in which), mode=mode)
                        asked[programs[who]].append("subscribe")
                    case ("unsubscribe", who, which) if not programs[who].closed:
                        programs[who].unsubscribe(*(scene.instruments[n] for n in which))
                        asked[programs[who]].append("unsubscribe")
                await turns()
            while scene.upstream.held_back or any(asked[p] != p.asked for p in programs if not p.closed):
                if scene.upstream.held_back:
                    scene.answer()
                await turns()
            await turns()
            for program in programs:
                if program.closed:
                    assert scene.held(program) == set()
                else:
                    assert program.asked == asked[program], "each request has its answer, in order"
                    assert scene.held(program) == scene.watches(program) == told_to(program)
            held = {i for program in programs for i, _ in scene.held(program)}
            assert set(scene.upstream.demand.instruments()) == held
            assert scene.fanout.stats()["symbols"] == len(held)

    run(main)


def symbols_of(program: Program) -> list[str]:
    """Return what the last reply says is subscribed."""
    return [item["symbol"] for item in program.replies[-1]["subscriptions"] if item["status"] == "success"]


def told_to(program: Program) -> set[tuple[Instrument, Mode]]:
    """Return what a program holds by its replies."""
    holds: set[tuple[Instrument, Mode]] = set()
    for reply in program.replies[1:]:
        if reply["type"] == "subscribe":
            good = [item for item in reply["subscriptions"] if item["status"] == "success"]
            holds |= {(Instrument("NSE", item["symbol"]), Mode(item["mode"])) for item in good}
        else:
            given_up = {item["symbol"] for item in reply["successful"]}
            holds = {(i, mode) for i, mode in holds if i.symbol not in given_up}
    return holds
