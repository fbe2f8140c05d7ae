"""A simulated broker behind its fault proxy is the same broker, over a worse line."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from dotenv import dotenv_values
from websockets.exceptions import InvalidMessage

from brokerpool.simulator import KiteSimulator, Latency, Slicer, Timeout
from tests import preloaded, processes
from tests.unit.simulator_client import DEADLINE, ask, dialling, run, shape, until


def test_a_live_socket_falls_into_a_black_hole_and_heals_with_every_tick_in_order() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0, toxics={}) as broker, dialling(broker) as client:
            assert broker.proxy is not None
            await ask(client, "subscribe", [408065])
            assert await shape(client) == [(408065, 44)]
            broker.proxy.add("hole", Timeout())
            await broker.step(100)
            sent = broker.sockets()[0]["frames_sent"]
            await ask(client, "mode", ["full", [408065]])
            await until(lambda: broker.sockets()[0]["frames_sent"] > sent)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.recv(), 0.1)
            broker.proxy.remove("hole")
            assert await shape(client) == [(408065, 44)]
            assert await shape(client) == [(408065, 184)]
            assert len(broker.sockets()) == 1

    run(scenario)


def test_frames_in_slices_are_whole_frames_to_a_client() -> None:
    async def scenario() -> None:
        toxics = {"sliced": Slicer(average_size=7, size_variation=5), "slow": Latency(latency=5, jitter=5)}
        async with KiteSimulator(rate=0, toxics=toxics) as broker, dialling(broker) as client:
            await ask(client, "subscribe", [408065, 738561])
            assert sorted(await shape(client)) == [(408065, 44), (738561, 44)]

    run(scenario)


def test_sockets_are_killed_and_the_broker_goes_down_behind_the_proxy() -> None:
    async def scenario() -> None:
        async with KiteSimulator(rate=0, toxics={}) as broker:
            url = broker.ws_url
            killed, other = await dialling(broker), await dialling(broker)
            broker.kill(1)
            await asyncio.wait_for(killed.wait_closed(), DEADLINE)
            await broker.down()
            await asyncio.wait_for(other.wait_closed(), DEADLINE)
            assert (killed.close_code, other.close_code) == (1006, 1006)
            with pytest.raises((ConnectionError, InvalidMessage)):
                await dialling(broker)
            await broker.up()
            assert broker.ws_url == url
            async with dialling(broker):
                pass

    run(scenario)


def test_the_command_announces_and_writes_the_address_of_the_proxy(tmp_path: Path) -> None:
    env = tmp_path / "sim.env"
    words = ("--broker", "zerodha", "--write-env", str(env))
    faults = ("--faults", "latency latency=20 jitter=5", "--faults", "slicer average_size=64 delay=1000")
    with processes.command("simulate", *words, *faults, folder=tmp_path) as broker:
        assert dotenv_values(env)["BROKERPOOL_BROKER_WS_URL"] == broker.said["ws_url"]
        control = broker.said["control_url"]
        assert [toxic["type"] for toxic in processes.get(f"{control}/toxics")] == ["latency", "slicer"]
        port = int(broker.said["ws_url"].rstrip("/").rpartition(":")[2])
        assert processes.get(f"{control}/stats")["proxy"]["port"] == port
        assert broker.terminate() == 0


def test_the_command_can_start_with_a_clean_proxy_and_with_one_that_is_down(tmp_path: Path) -> None:
    for word, enabled in (("none", True), ("down", False)):
        with processes.command(
            "simulate", "--broker", "zerodha", "--faults", word, folder=tmp_path
        ) as broker:
            control = broker.said["control_url"]
            assert processes.get(f"{control}/toxics") == []
            assert processes.get(f"{control}/stats")["proxy"]["enabled"] is enabled


def test_a_fault_that_is_none_is_told_in_one_line_with_those_that_are() -> None:
    ran = preloaded.run(
        [sys.executable, "-m", "brokerpool", "simulate", "--broker", "zerodha", "--faults", "fog"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("brokerpool: 'fog' is not a toxic. Toxics: latency (latency, jitter), ")
    assert ran.stderr.count("\n") == 1
