"""Promises of the keys: only hashes are kept, a wrong key costs next to nothing, a revoked one is told of."""

from __future__ import annotations

import hashlib
import time

import pytest

from brokerpool.errors import ErrorCode, StoreError
from brokerpool.store import keys
from brokerpool.store.keys import Key, KeyRing, Scope, digest, new_key
from brokerpool.store.vault import Sealed, Vault

WRONG_KEYS = 100_000

FIRST = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="
SECOND = "YW5vdGhlciBrZXksIG5vdCB0aGF0IG9mIGJlZm9yZSE="


def key(text: str, number: int = 1) -> Key:
    return Key(number, f"key {number}", digest(text), frozenset({Scope.DATA}), created_ms=0)


def code(error: pytest.ExceptionInfo[StoreError]) -> ErrorCode:
    return error.value.code


def test_a_key_has_256_bits_and_no_two_are_alike() -> None:
    made = {new_key() for _ in range(1000)}
    assert len(made) == 1000
    assert {len(text) for text in made} == {len("bp_") + 43}  # 32 bytes in base64


def test_what_is_kept_of_a_key_is_its_sha256() -> None:
    assert digest("bp_x") == hashlib.sha256(b"bp_x").hexdigest()


def test_the_ring_knows_its_keys_and_no_others() -> None:
    right = new_key()
    ring = KeyRing([key(right)])
    found = ring.check(right)
    assert found is not None
    assert found.scopes == {Scope.DATA}
    for wrong in ("", right[:-1], right + " ", right.lower(), digest(right), "\ud800", "x" * 1_000_000):
        assert ring.check(wrong) is None


def test_what_is_too_long_for_a_key_is_not_even_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(keys, "digest", hashed.append)
    assert KeyRing().check("x" * 10_000_000) is None
    assert hashed == []


def test_a_hundred_thousand_wrong_keys_cost_under_two_seconds_of_cpu() -> None:
    ring = KeyRing(key(new_key(), number) for number in range(1000))
    wrong = [new_key() for _ in range(WRONG_KEYS)]
    began = time.process_time()
    assert not any(ring.check(text) for text in wrong)
    spent = time.process_time() - began
    print(f"{WRONG_KEYS} wrong keys: {spent:.2f} s of CPU, {spent / WRONG_KEYS * 1e6:.1f} us each")
    assert spent < 2


def test_watchers_learn_which_keys_are_gone_until_they_stop_watching() -> None:
    told: list[frozenset[int]] = []
    ring = KeyRing([key("a", 1), key("b", 2), key("c", 3)])
    ring.watch(told.append)
    ring.replace([key("b", 2), key("d", 4)])
    ring.replace([key("b", 2), key("d", 4)])
    ring.unwatch(told.append)
    ring.replace([])
    assert told == [{1, 3}]


def test_neither_the_key_nor_its_hash_shows_in_a_repr() -> None:
    text = new_key()
    shown = repr(key(text)) + repr(KeyRing([key(text)]))
    assert text not in shown
    assert digest(text) not in shown


def test_a_sealed_secret_opens_with_its_key_also_after_a_rotation() -> None:
    sealed = Vault(FIRST).seal("login 1", "token")
    assert "token" not in sealed.text
    assert Vault(FIRST).open("login 1", sealed) == "token"
    assert Vault(f"{SECOND}, {FIRST}").open("login 1", sealed) == "token"
    assert Vault(f"{SECOND},{FIRST}").seal("login 2", "token").key_id != sealed.key_id


def test_a_missing_key_a_wrong_key_and_a_changed_secret_are_told_apart() -> None:
    sealed = Vault(FIRST).seal("login 1", "token")
    with pytest.raises(StoreError) as missing:
        Vault(" , ")
    with pytest.raises(StoreError) as no_key:
        Vault("not a key")
    with pytest.raises(StoreError) as wrong:
        Vault(SECOND).open("login 1", sealed)
    middle = len(sealed.text) // 2
    flipped = "A" if sealed.text[middle] != "A" else "B"
    other = Sealed(sealed.text[:middle] + flipped + sealed.text[middle + 1 :], sealed.key_id)
    with pytest.raises(StoreError) as changed:
        Vault(FIRST).open("login 1", other)
    with pytest.raises(StoreError) as moved:
        Vault(FIRST).open("login 2", sealed)
    assert code(missing) is ErrorCode.SECRET_KEY_MISSING
    assert code(no_key) is code(wrong) is ErrorCode.SECRET_KEY_WRONG
    assert code(changed) is code(moved) is ErrorCode.CREDENTIALS_DAMAGED


def test_no_secret_shows_in_the_vaults_errors_and_repr() -> None:
    sealed = Vault(FIRST).seal("login 1", "token-0123")
    with pytest.raises(StoreError) as wrong:
        Vault(SECOND).open("login 1", sealed)
    shown = f"{wrong.value!s} {Vault(FIRST)!r}"
    for secret in (FIRST, SECOND, "token-0123", sealed.text):
        assert secret not in shown
