"""Calls that are passed through, over real sockets, to a scripted upstream that behaves as OpenAlgo's."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from brokerpool.db.pool import DatabasePool
from brokerpool.errors import BrokerpoolError, ErrorCode, SettingsError
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Scope
from tests.gateway_client import KEY, gateway
from tests.http_server import Reply, Seen
from tests.order_stage import UPSTREAM_KEY, Ledger, passing
from tests.rehearsal import until

ODD = b'{"status" : "success", "price":1.10, "orderid":"\xe0\xa4\x85"}\n'


def test_an_answer_reaches_the_client_byte_for_byte_and_only_the_key_of_the_call_is_another() -> None:
    body = f'{{"apikey":"{KEY}", "price" : 1.10, "quantity":"1", "legs":[ {{"price":1e2}} , null ]}}'

    async def main() -> None:
        async with passing() as stage:
            kind = {
                "Content-Type": "application/vnd.x+json; charset=utf-8",
                "X-Secret": "1",
                "Set-Cookie": "a=b",
            }
            stage.upstream.script = lambda seen: Reply(418, ODD, kind)
            answer = await stage.program.send("POST", "/api/v1/basketorder/", data=body.encode())
            assert (answer.status, answer.body) == (418, ODD)
            assert answer.headers["Content-Type"] == kind["Content-Type"]
            assert not {"X-Secret", "Set-Cookie"} & set(answer.headers)
            (seen,) = stage.calls()
            assert (seen.method, seen.path) == ("POST", "/api/v1/basketorder")
            wanted = (
                f'{{"apikey":"{UPSTREAM_KEY}","price":1.10,"quantity":"1","legs":[ {{"price":1e2}} , null ]}}'
            )
            assert seen.body.decode() == wanted
            assert "authorization" not in seen.headers or KEY not in seen.headers["authorization"]

    asyncio.run(main())


def test_a_get_is_passed_with_its_query_and_the_upstreams_key() -> None:
    async def main() -> None:
        async with passing() as stage:
            stage.upstream.script = lambda seen: Reply(body=b"a,b\n", headers={"Content-Type": "text/csv"})
            query = {"apikey": KEY, "format": "csv", "text": "a b&c=d", "empty": ""}
            answer = await stage.program.send("GET", "/api/v1/market/report", params=query)
            assert (answer.status, answer.body) == (200, b"a,b\n")
            assert answer.headers["Content-Type"] == "text/csv"
            (seen,) = stage.calls()
            given = dict(seen.query)
            assert given["apikey"] == UPSTREAM_KEY
            assert given["text"] == "a b&c=d"
            assert KEY not in repr(seen)

    asyncio.run(main())


def test_what_the_gateway_answers_itself_is_not_passed_through() -> None:
    async def main() -> None:
        async with passing() as stage:
            ping = await stage.program.post("ping")
            assert ping.json["data"]["message"] == "pong"
            assert (await stage.program.send("GET", "/api/v1/quotes")).status == 405
            for method, path in (
                ("PUT", "/api/v1/placeorder"),
                ("POST", "/api/v2/placeorder"),
                ("POST", "/api/v1"),
                ("GET", "/nothing"),
            ):
                answer = await stage.program.send(method, path, headers={"X-API-KEY": KEY})
                assert answer.status in (404, 405), path
                assert answer.json["code"] == "UNKNOWN_ENDPOINT"
            assert not stage.calls()

    asyncio.run(main())


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/%2e%2e/admin",
        "/api/v1/place%6Frder",
        "/api/v1/a%2Fb",
        "/api/v1//placeorder",
        "/api/v1/place.order",
        "/api/v1/place order",
        "/api/v1/x;y",
        "/api/v1/" + "x" * 200,
        "/api/v1/\xe9",
    ],
)
def test_a_path_in_another_spelling_never_reaches_the_upstream(path: str) -> None:
    async def main() -> None:
        async with passing() as stage:
            port = int(stage.gateway.http_url.rpartition(":")[2])
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps({"apikey": KEY}).encode()
            writer.write(_post(path, body, "Connection: close"))
            answer = await reader.read()
            writer.close()
            assert answer.split()[1] in (b"404", b"400")
            assert not stage.calls()

    asyncio.run(main())


def test_without_the_setting_or_the_scope_nothing_leaves() -> None:
    async def main() -> None:
        async with passing(BROKERPOOL_API_KEY_ORDERS="no") as stage:
            refused = await stage.program.place("a")
            assert (refused.status, refused.json["code"]) == (403, "SCOPE_MISSING")
            refused = await stage.program.post("placeorder", key="x" * 20)
            assert (refused.status, refused.json["code"]) == (403, "AUTHENTICATION_ERROR")
            assert (await stage.program.post("ping")).status == 200
            assert not stage.calls()
        async with passing(BROKERPOOL_ORDERS_ACCOUNT="") as stage:
            unknown = await stage.program.place("a")
            assert (unknown.status, unknown.json["code"]) == (404, "UNKNOWN_ENDPOINT")
            assert not stage.calls()

    asyncio.run(main())


def test_a_stored_key_sends_orders_by_its_scope_alone_and_none_once_it_is_revoked(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'keys.db'}"
        async with Store(DatabasePool(url)) as store:
            orders = await store.create_key("momentum", [Scope.ORDERS])
            data = await store.create_key("reader", [Scope.DATA])
            async with passing(DATABASE_URL=url) as stage:
                assert (await stage.program.place("a", key=orders)).status == 200
                assert "by momentum: accepted" in stage.audit()[-1]
                legs = [{"symbol": "INFY", "quantity": 1}] * 500
                basket = await stage.program.post("basketorder", key=orders, strategy="c", orders=legs)
                assert basket.status == 200, "also a large one"
                for key, name in ((data, "placeorder"), (data, "orderbook"), (orders, "ping")):
                    refused = await stage.program.post(name, key=key)
                    assert (refused.status, refused.json["code"]) == (403, "SCOPE_MISSING"), name
                await store.revoke_key("momentum")
                async with asyncio.timeout(5):
                    # Until the gateway has looked: as often as the key's rate allows.
                    while (answer := await stage.program.place("b", key=orders)).status in (200, 429):
                        pass
                assert (answer.status, answer.json["code"]) == (403, "AUTHENTICATION_ERROR")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[]", "body"),
        (b'{"apikey":1}', "apikey"),
        (b'{"apikey":""}', "apikey"),
        (b'{"symbol":"INFY"}', "apikey"),
        (b'{"apikey":"' + KEY.encode() + b'","price":NaN}', "body"),
    ],
)
def test_a_call_that_is_no_json_object_with_a_key_is_refused_and_not_sent(body: bytes, field: str) -> None:
    async def main() -> None:
        async with passing() as stage:
            answer = await stage.program.send("POST", "/api/v1/placeorder", data=body)
            assert answer.status == 400
            assert answer.json["code"] == "INVALID_PARAMETERS"
            assert list(answer.json["message"]) == [field]
            assert not stage.calls()

    asyncio.run(main())


def test_bodies_are_bounded_both_ways() -> None:
    async def main() -> None:
        async with passing() as stage:
            large = await stage.program.place("a", note="x" * 300_000)
            assert (large.status, large.json["code"]) == (413, "REQUEST_TOO_LARGE")
            assert not stage.calls()
            huge = b"x" * (17 * 1024 * 1024)
            stage.upstream.script = lambda seen: Reply(body=huge)
            answer = await stage.program.post("tradebook")
            assert (answer.status, answer.json["code"]) == (502, "ANSWER_TOO_LARGE")

    asyncio.run(main())


def test_an_outcome_that_is_not_known_says_what_was_sent_when_and_how_to_look_it_up() -> None:
    async def main() -> None:
        async with passing() as stage:
            for reply, name in (
                (Reply(status=None, then="reset"), "placeorder"),
                (Reply(500, b"{}"), "modifyorder"),
                (Reply(status=None, then="close"), "cancelorder"),
                (Reply(502), "telegram/notify"),
            ):
                stage.upstream.script = lambda seen, reply=reply: reply  # type: ignore[misc]
                stage.upstream.seen.clear()
                before = int(time.time() * 1000)
                answer = await stage.program.post(name, orderid="7")
                assert answer.status == 504
                told = answer.json
                assert told["status"] == "error"
                assert told["code"] == "OUTCOME_UNKNOWN"
                assert told["endpoint"] == f"/api/v1/{name}"
                assert before <= told["sent_at"] <= time.time() * 1000
                assert told["look_up"]
                assert told.get("upstream_status") == reply.status
                assert told.get("upstream_answer") == (None if reply.status is None else reply.body.decode())
                assert KEY not in answer.body.decode()
                assert UPSTREAM_KEY not in answer.body.decode()
                assert len(stage.calls()) == 1, "never a second time"
                assert told["tag"] in stage.audit()[-1]
                assert "unknown" in stage.audit()[-1]
            assert stage.gateway.stats()["orders"]["calls"]["place unknown"] == 2

    asyncio.run(main())


def test_a_query_is_repeated_and_one_that_fails_is_no_unknown_outcome() -> None:
    async def main() -> None:
        async with passing(MAX_RETRIES="2") as stage:
            replies = iter([Reply(503), Reply(status=None, then="reset"), Reply(body=b"[1]")])
            stage.upstream.script = lambda seen: next(replies) if seen.method == "POST" else Reply()
            answer = await stage.program.post("orderbook")
            assert (answer.status, answer.body) == (200, b"[1]")
            assert len(stage.calls()) == 3
            stage.upstream.script = lambda seen: Reply(status=None, then="reset")
            answer = await stage.program.post("orderstatus", orderid="7")
            assert (answer.status, answer.json["code"]) == (502, "CALL_FAILED")
            stage.upstream.script = lambda seen: Reply(503, b"down")
            answer = await stage.program.post("funds")
            assert (answer.status, answer.body) == (503, b"down"), "its own answer in the end"

    asyncio.run(main())


def test_too_fast_is_passed_on_and_obeyed() -> None:
    async def main() -> None:
        async with passing() as stage:
            said = b'{"status":"error","message":"Rate limit exceeded","retry_after":30}'
            stage.upstream.script = lambda seen: Reply(429, said, {"Retry-After": "30"})
            answer = await stage.program.place("a")
            assert (answer.status, answer.body, answer.headers["Retry-After"]) == (429, said, "30")
            again = await stage.program.place("b")
            assert (again.status, again.json["code"]) == (429, "RATE_LIMITED")
            assert 28 <= again.json["retry_after"] <= 30
            assert again.headers["Retry-After"] == str(again.json["retry_after"])
            assert len(stage.calls()) == 1, "the second did not leave"
            stage.upstream.script = Ledger().script
            assert (await stage.program.post("orderbook")).status == 200, "queries are counted by themselves"
            assert (await stage.program.post("cancelorder", strategy="a")).status == 200, "and so are cancels"

    asyncio.run(main())


def test_a_broker_that_names_no_time_is_held_for_ours_and_the_client_is_told_it() -> None:
    async def main() -> None:
        async with passing() as stage:
            stage.upstream.script = lambda seen: Reply(429, b"{}")
            answer = await stage.program.place("a")
            assert (answer.status, answer.body) == (429, b"{}")
            assert int(answer.headers["Retry-After"]) >= 1

    asyncio.run(main())


def test_each_call_leaves_a_line_without_its_content(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with passing() as stage:
            await stage.program.place("secret-strategy")
            await stage.program.post("funds")
            (line,) = stage.audit()
            assert "POST /api/v1/placeorder by BROKERPOOL_API_KEY: accepted (200) in " in line
            assert line.endswith(" ms")
            stats = stage.gateway.stats()["orders"]
            assert stats["calls"]["place accepted"] == stats["calls"]["query accepted"] == 1
            assert stats["queries_under_way"] == 0

    with caplog.at_level(logging.INFO, "brokerpool.orders"):
        asyncio.run(main())
    lines = [record.getMessage() for record in caplog.records if record.name == "brokerpool.orders"]
    assert [line.split()[2] for line in lines] == ["/api/v1/placeorder", "/api/v1/funds"]
    for secret in (KEY, UPSTREAM_KEY, "secret-strategy", "INFY"):
        assert secret not in caplog.text


def test_a_client_that_leaves_takes_back_what_has_not_left_and_the_rest_is_seen_to_its_end() -> None:
    async def main() -> None:
        async with passing(POOL_MAXSIZE="1") as stage:
            stage.upstream.script = lambda seen: Reply(delay=0.3, body=b'{"status":"success"}')
            port = int(stage.gateway.http_url.rpartition(":")[2])
            writers = []
            for strategy in ("sent", "waits"):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                body = json.dumps({"apikey": KEY, "strategy": strategy}).encode()
                writer.write(_post("/api/v1/placeorder", body))
                writers.append(writer)
                await until(lambda: len(stage.calls()) == 1)
            http = stage.gateway.stats()["http"]
            await until(lambda: stage.gateway.stats()["http"]["queued"]["place"] == 1)
            assert http["active_connections"] == 1
            for writer in writers:
                writer.transport.abort()
            await until(lambda: len(stage.audit()) == 2)
            assert [line.split(": ")[1].split()[0] for line in stage.audit()] == ["withdrawn", "accepted"]
            assert len(stage.calls()) == 1

    asyncio.run(main())


def test_an_order_that_is_on_its_way_when_the_gateway_stops_is_answered_as_unknown() -> None:
    async def main() -> None:
        async with passing() as stage:
            stage.upstream.script = lambda seen: Reply(status=None, delay=60)
            placing = asyncio.create_task(stage.program.place("a"))
            await until(lambda: stage.calls())
            await stage.gateway.close()
            answer = await placing
            assert (answer.status, answer.json["code"]) == (504, "OUTCOME_UNKNOWN")
            assert "unknown" in stage.audit()[-1]

    asyncio.run(main())


def test_an_account_that_cannot_carry_orders_or_is_not_there_ends_the_start() -> None:
    async def main(name: str) -> None:
        async with gateway({}, 60.0, BROKERPOOL_ORDERS_ACCOUNT=name):
            pass

    with pytest.raises(BrokerpoolError) as refused:
        asyncio.run(main("zerodha"))
    assert refused.value.code is ErrorCode.ORDERS_NOT_CARRIED
    with pytest.raises(SettingsError, match="BROKERPOOL_ORDERS_ACCOUNT is the name of no account"):
        asyncio.run(main("nobody"))


def test_queries_leave_places_to_orders() -> None:
    async def main() -> None:
        async with passing(BROKERPOOL_MAX_CLIENTS="10") as stage:
            held = asyncio.Event()

            def script(seen: Seen) -> Reply:
                return Reply(delay=0.0 if held.is_set() or seen.path.endswith("order") else 0.5)

            stage.upstream.script = script
            queries = [asyncio.create_task(stage.program.post("funds")) for _ in range(9)]
            await until(lambda: stage.gateway.stats()["orders"]["queries_under_way"] == 9)
            refused = await stage.program.post("funds")
            assert (refused.status, refused.json["code"]) == (503, "GATEWAY_BUSY")
            assert (await stage.program.place("a")).status == 200
            held.set()
            assert {answer.status for answer in await asyncio.gather(*queries)} == {200}

    asyncio.run(main())


def test_a_key_in_the_header_of_another_client_library_is_no_key_of_a_call() -> None:
    async def main() -> None:
        async with passing() as stage, aiohttp.ClientSession(stage.gateway.http_url) as http:
            headers: dict[str, Any] = {"X-API-KEY": KEY}
            async with http.post("/api/v1/placeorder", json={"symbol": "INFY"}, headers=headers) as answer:
                assert answer.status == 400
            assert not stage.calls()

    asyncio.run(main())


def _post(path: str, body: bytes, *more: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}", *more]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body
