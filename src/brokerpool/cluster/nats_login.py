"""How a process reaches the NATS servers of its cluster: their URLs, its credentials, and TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

from brokerpool.errors import SettingsError
from brokerpool.settings import ClusterSettings, words

#: What one dial may take.
DIAL_SECONDS = 2
#: A server that answers no ping for two to three of these is given up, and the next one is dialled.
PING_SECONDS = 1
#: Between two dials of one server.
REDIAL_SECONDS = 0.25


def connection_options(settings: ClusterSettings) -> dict[str, Any]:
    """Return what nats-py is told to connect, and to redial for ever.

    Raises SettingsError for a file that cannot be read, or holds not what it is to hold.
    """
    files = {
        "BROKERPOOL_NATS_CREDENTIALS_FILE": settings.nats_credentials_file,
        "BROKERPOOL_NATS_NKEY_FILE": settings.nats_nkey_file,
    }
    for name, file in files.items():
        if file:
            _readable(name, file)
    return {
        "servers": words(settings.nats_url.get_secret_value()),
        "tls": _tls(settings),
        "user_credentials": settings.nats_credentials_file or None,
        "nkeys_seed": settings.nats_nkey_file or None,
        "connect_timeout": DIAL_SECONDS,
        "reconnect_time_wait": REDIAL_SECONDS,
        "max_reconnect_attempts": -1,
        "ping_interval": PING_SECONDS,
        "max_outstanding_pings": 2,
    }


def servers(settings: ClusterSettings) -> str:
    """Return hosts and ports of the servers, without what is secret in their URLs."""
    urls = words(settings.nats_url.get_secret_value())
    return ", ".join(url.partition("://")[2].rpartition("@")[2].rstrip("/") for url in urls)


def _tls(settings: ClusterSettings) -> ssl.SSLContext | None:
    """Return what proves the servers, and us to them; None where no URL and no file asks for TLS."""
    ca, cert = settings.nats_ca_file, settings.nats_cert_file
    secured = any(url.startswith("tls://") for url in words(settings.nats_url.get_secret_value()))
    if not (secured or ca or cert):
        return None
    if ca:
        _readable("BROKERPOOL_NATS_CA_FILE", ca)
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError:
        raise SettingsError(f"BROKERPOOL_NATS_CA_FILE: {ca} holds no certificates in PEM.") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert:
        key = settings.nats_key_file
        _readable("BROKERPOOL_NATS_CERT_FILE", cert)
        if key:
            _readable("BROKERPOOL_NATS_KEY_FILE", key)
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(cert, key or None, password="")
        except (ssl.SSLError, ValueError):
            text = "BROKERPOOL_NATS_CERT_FILE and BROKERPOOL_NATS_KEY_FILE are no certificate and its key."
            raise SettingsError(text) from None
    return context


def _readable(name: str, file: str) -> None:
    try:
        Path(file).read_bytes()
    except OSError as error:
        raise SettingsError(f"{name}: {file} cannot be read: {error.strerror}.") from None
