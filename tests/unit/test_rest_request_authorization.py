"""The door of the REST endpoints: a key that opens it and not too often."""

from __future__ import annotations

import hmac

import pytest

from brokerpool.errors import AccessError, BrokerpoolError, ErrorCode
from brokerpool.event_journal import Journal
from brokerpool.gateway.gatekeeper import Gatekeeper, KeyLimits
from brokerpool.gateway.rest import request_authorization as access_module
from brokerpool.gateway.rest.failures import RequestRefusedError, failure
from brokerpool.gateway.rest.request_authorization import Access
from brokerpool.settings import Settings
from tests.clock import Clock

KEY = "a-key-for-the-gateway"


def a_door(most: int, seconds: float, clock: Clock) -> Access:
    gatekeeper = Gatekeeper(KEY, lambda text: None, KeyLimits(1, 1, 1, 1.0), Journal(), clock)
    return Access(gatekeeper, most, seconds, clock)


def refusal(access: Access, key: str = KEY, address: str = "10.0.0.1") -> tuple[int, ErrorCode, float | None]:
    """Return with what a request is turned away: status, code, and when to come back."""
    with pytest.raises(BrokerpoolError) as caught:
        access.admit(address, key)
    assert isinstance(caught.value, AccessError | RequestRefusedError)
    assert KEY not in str(caught.value)
    return failure(caught.value)[0], caught.value.code, caught.value.retry_after


def test_only_the_right_key_opens() -> None:
    access = a_door(50, 1.0, Clock())
    access.admit("10.0.0.1", KEY)
    for wrong in ("", KEY[:-1], KEY + "x", KEY.upper(), "\ud800", "ключ"):
        assert refusal(access, wrong) == (403, ErrorCode.AUTHENTICATION_ERROR, None)


def test_the_key_is_compared_as_digests_of_one_length_in_constant_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return a == b

    access = a_door(50, 1.0, Clock())
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for key in ("", "x" * 256):
        refusal(access, key)
    assert len(compared) == 2
    assert {len(side) for pair in compared for side in pair} == {32}


def test_one_request_too_many_is_told_when_to_come_back_and_the_window_moves() -> None:
    clock = Clock()
    access = a_door(2, 60.0, clock)
    access.admit("10.0.0.1", KEY)
    clock.now = 20.5
    access.admit("10.0.0.1", KEY)
    assert refusal(access) == (429, ErrorCode.API_RATE_LIMIT_REACHED, 40)
    clock.now = 60.1
    access.admit("10.0.0.1", KEY)  # the first has left the window, and the refused one never was in it
    assert refusal(access)[2] == 21


def test_another_address_has_a_limit_of_its_own() -> None:
    access = a_door(1, 1.0, Clock())
    access.admit("10.0.0.1", KEY)
    access.admit("10.0.0.2", KEY)
    assert refusal(access)[0] == 429


def test_wrong_keys_run_into_their_own_limit_and_take_nothing_from_the_right_one() -> None:
    access = a_door(5, 1.0, Clock())
    assert [refusal(access, "wrong")[0] for _ in range(8)] == [403] * 5 + [429] * 3
    for _ in range(5):
        access.admit("10.0.0.1", KEY)


def test_however_many_addresses_come_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "MAX_ADDRESSES", 3)
    access = a_door(1, 1.0, Clock())
    for number in range(10):
        access.admit(f"10.0.0.{number}", KEY)
    assert len(access._visits) == 3
    assert refusal(access, address="10.0.0.9")[0] == 429, "the latest are remembered"


def test_the_limit_is_openalgos_setting() -> None:
    secrets = {
        "BROKERPOOL_API_KEY": KEY,
        "BROKERPOOL_BROKER_API_KEY": "k",
        "BROKERPOOL_BROKER_ACCESS_TOKEN": "t",
    }
    assert Settings.load(environ=secrets).api_rate == (50, 1.0)
    assert Settings.load(environ={**secrets, "API_RATE_LIMIT": "7 per minute"}).api_rate == (7, 60.0)
