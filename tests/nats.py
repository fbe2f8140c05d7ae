"""NATS servers for tests: the real program on loopback, with logins and certificates made on the spot."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import nkeys
import pytest
from pydantic import SecretStr

from brokerpool.cluster.bus import BusError
from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.settings import ClusterSettings


def cluster_settings(url: str, **given: Any) -> ClusterSettings:
    """Return settings of a process at this server."""
    return ClusterSettings(BROKERPOOL_NATS_URL=SecretStr(url), **given)


@asynccontextmanager
async def bus(url: str, name: str = "test", **given: Any) -> AsyncIterator[NatsBus]:
    """Open a bus until the block ends."""
    opened = NatsBus(cluster_settings(url, **given), name)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


async def refused(url: str, seconds: float = 1.0, **given: Any) -> str:
    """Return what a bus says that is not let in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brokerpool.cluster.nats_bus.OPEN_SECONDS", seconds)
        with pytest.raises(BusError) as error:
            async with bus(url, **given):
                pass
    return str(error.value)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test on a loop of its own, for a minute at most."""
    asyncio.run(asyncio.wait_for(test, 60))


# -- logins -----------------------------------------------------------------------------------------------


class Nkey(NamedTuple):
    """A user's key pair: what the server knows, and the file that the client has."""

    public: str
    seed: str


def nkey(kind: int = nkeys.PREFIX_BYTE_USER) -> Nkey:
    """Make one."""
    seed = nkeys.encode_seed(os.urandom(32), kind)
    return Nkey(nkeys.from_seed(seed).public_key.decode(), bytes(seed).decode())


def jwt_server(folder: Path) -> tuple[dict[str, Any], Path]:
    """Return a configuration with one account of an operator, and the credentials file of its user."""
    operator, account = nkey(nkeys.PREFIX_BYTE_OPERATOR), nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    system, user = nkey(nkeys.PREFIX_BYTE_ACCOUNT), nkey()
    everything = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits = {**unlimited, **everything, "wildcards": True}
    operator_jwt = _jwt(operator, operator.public, "operator", {"system_account": system.public})
    system_jwt = _jwt(operator, system.public, "account", {"limits": {**unlimited, "wildcards": True}})
    account_jwt = _jwt(operator, account.public, "account", {"limits": limits})
    user_jwt = _jwt(account, user.public, "user", {"subs": -1, "data": -1, "payload": -1})
    file = folder / "user.creds"
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{user_jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed}\n------END USER NKEY SEED------\n"
    )
    config = {
        "operator": operator_jwt,
        "resolver": "MEMORY",
        "resolver_preload": {account.public: account_jwt, system.public: system_jwt},
    }
    return config, file


def _jwt(issuer: Nkey, subject: str, kind: str, claims: Mapping[str, Any]) -> str:
    head = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {
        "jti": subject,
        "iat": int(time.time()),
        "iss": issuer.public,
        "name": kind,
        "sub": subject,
        "nats": {**claims, "type": kind, "version": 2},
    }
    signed = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(body).encode())}"
    signature = nkeys.from_seed(bytearray(issuer.seed.encode())).sign(signed.encode())
    return f"{signed}.{_base64(signature)}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
