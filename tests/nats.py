"""NATS servers for tests: the real program on loopback, with logins and certificates made on the spot."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import nkeys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.settings import ClusterSettings


def cluster_settings(url: str, **given: object) -> ClusterSettings:
    """Return settings of a process at this server."""
    return ClusterSettings(BROKERPOOL_NATS_URL=url, **given)


@asynccontextmanager
async def bus(url: str, name: str = "test", **given: object) -> AsyncIterator[NatsBus]:
    """Open a bus until the block ends."""
    opened = NatsBus(cluster_settings(url, **given), name)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()


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
    """Return a server's configuration that knows one account of an operator, and its user's credentials file."""
    operator, account = nkey(nkeys.PREFIX_BYTE_OPERATOR), nkey(nkeys.PREFIX_BYTE_ACCOUNT)
    user = nkey()
    everything = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits = {**unlimited, **everything, "wildcards": True}
    operator_jwt = _jwt(operator, operator.public, "operator", {})
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
        "resolver_preload": {account.public: account_jwt},
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


# -- certificates -----------------------------------------------------------------------------------------


def certificate(folder: Path, name: str = "server") -> tuple[Path, Path]:
    """Return the files of a certificate for loopback that vouches for itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return cert_file, key_file
