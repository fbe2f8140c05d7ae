"""The door of the REST endpoints: the right key and not too often."""

from __future__ import annotations

import hmac

import pytest

from brokerpool.errors import ErrorCode
from brokerpool.gateway.rest import door as doors
from brokerpool.gateway.rest.door import Door
from brokerpool.gateway.rest.failures import RequestRefusedError
from brokerpool.settings import Settings

KEY = "a-key-for-the-gateway"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def refusal(door: Door, key: str = KEY, address: str = "10.0.0.1") -> RequestRefusedError:
    with pytest.raises(RequestRefusedError) as caught:
        door.admit(address, key)
    return caught.value


def test_only_the_right_key_opens() -> None:
    door = Door(KEY, 50, 1.0, Clock())
    door.admit("10.0.0.1", KEY)
    for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), "\ud800", "ключ"):
        error = refusal(door, wrong)
        assert (error.status, error.code) == (403, ErrorCode.AUTHENTICATION_ERROR)
        assert KEY not in str(error)


def test_the_key_is_compared_as_digests_of_one_length_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    door = Door(KEY, 50, 1.0, Clock())
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for key in ("", "x" * 256):
        refusal(door, key)
    assert len(compared) == 2
    assert {len(side) for pair in compared for side in pair} == {32}


def test_one_request_too_many_is_told_when_to_come_back_and_the_window_moves() -> None:
    clock = Clock()
    door = Door(KEY, 2, 60.0, clock)
    door.admit("10.0.0.1", KEY)
    clock.now = 20.5
    door.admit("10.0.0.1", KEY)
    error = refusal(door)
    assert (error.status, error.code, error.retry_after) == (429, ErrorCode.API_RATE_LIMIT_REACHED, 40)
    clock.now = 60.1
    door.admit("10.0.0.1", KEY)  # the first has left the window, and the refused one never was in it
    assert refusal(door).retry_after == 21


def test_another_address_has_a_limit_of_its_own() -> None:
    door = Door(KEY, 1, 1.0, Clock())
    door.admit("10.0.0.1", KEY)
    door.admit("10.0.0.2", KEY)
    assert refusal(door).status == 429


def test_wrong_keys_run_into_their_own_limit_and_take_nothing_from_the_right_one() -> None:
    door = Door(KEY, 5, 1.0, Clock())
    assert [refusal(door, "wrong").status for _ in range(8)] == [403] * 5 + [429] * 3
    for _ in range(5):
        door.admit("10.0.0.1", KEY)


def test_however_many_addresses_come_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "MAX_ADDRESSES", 3)
    door = Door(KEY, 1, 1.0, Clock())
    for number in range(10):
        door.admit(f"10.0.0.{number}", KEY)
    assert len(door._visits) == 3
    assert refusal(door, address="10.0.0.9").status == 429, "the latest are remembered"


def test_the_limit_is_openalgos_setting() -> None:
    secrets = {
        "BROKERPOOL_API_KEY": KEY,
        "BROKERPOOL_BROKER_API_KEY": "k",
        "BROKERPOOL_BROKER_ACCESS_TOKEN": "t",
    }
    assert Settings.load(environ=secrets).api_rate == (50, 1.0)
    assert Settings.load(environ={**secrets, "API_RATE_LIMIT": "7 per minute"}).api_rate == (7, 60.0)
