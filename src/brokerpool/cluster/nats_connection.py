"""The connection to the NATS servers of a cluster: how it is made and secured, and that it ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nats.errors
from nats.aio.client import Client, Srv
from nats.aio.msg import Msg

from brokerpool.errors import SettingsError
from brokerpool.settings import ClusterSettings, words

#: What one dial may take.
DIAL_SECONDS = 2
#: A server that answers no ping for two to three of these is given up, and the next one is dialled. So who
#: is heard no more, and hears all, knows it in time to have clients told within five seconds: these, and the
#: silence of `Timing.dark` besides.
PING_SECONDS = 0.75
#: Between two dials of one server.
REDIAL_SECONDS = 0.25
#: What an orderly end may take; then the line is cut.
END_SECONDS = 2.0


class Connection(Client):
    """nats-py's, which is to give up a line that takes nothing any more, and to leave none open.

    Its own would wait for the server to read what was sent before it dials the next one, however long that
    takes, and send to the next one what was meant for a moment long past.
    """

    #: What is told in this turn of the loop will be written at its end.
    _write_due = False

    def tell(self, subject: str, payload: bytes) -> None:
        """Publish without a coroutine for each message, of which thousands leave a second; never waits.

        What is told in one turn of the loop leaves in one write behind it. Raises nats.errors.MaxPayloadError
        for a message that is larger than the server takes.
        """
        if len(payload) > self._max_payload:
            raise nats.errors.MaxPayloadError
        command = b"PUB %b %d\r\n%b\r\n" % (subject.encode(), len(payload), payload)
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._write_due:
            self._write_due = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        """Write what waits; through nats-py, at twice the cost, only where that may have to be waited for."""
        self._write_due = False
        if not self._pending or not self.is_connected:
            return
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        line = None if writer is None or writer.is_closing() else writer.transport
        if line is not None and not line.get_write_buffer_size():
            line.write(b"".join(self._pending))
            self.drop_what_waits()
        elif self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, Any] | None = None,
    ) -> Msg:
        """Ask as nats-py's does, and as its JetStream does through it; a cancellation ends it."""
        with _heeding_cancellation():
            return await super().request(subject, payload, timeout, old_style, headers)

    async def flush(self, timeout: int = 10) -> None:
        """Wait as nats-py's does; a cancellation ends it."""
        with _heeding_cancellation():
            await super().flush(timeout)

    async def end(self) -> None:
        """Close it; takes END_SECONDS at most."""
        try:
            async with asyncio.timeout(END_SECONDS):
                await self.close()
        except (nats.errors.Error, TimeoutError, OSError):
            pass
        finally:
            self._cut()

    def drop_what_waits(self) -> None:
        """Forget what has not left yet."""
        self._pending.clear()
        self._pending_data_size = 0

    async def _process_op_err(self, e: Exception) -> None:
        self._cut()
        await super()._process_op_err(e)

    async def _connect_to_server(self, s: Srv) -> None:
        self._cut()  # one whose handshake failed
        with _heeding_cancellation():
            await super()._connect_to_server(s)

    async def _process_connect_init(self) -> None:
        with _heeding_cancellation():
            await super()._process_connect_init()

    def _cut(self) -> None:
        for name in ("_io_writer", "_bare_io_writer"):
            writer: asyncio.StreamWriter | None = getattr(self._transport, name, None)
            if writer is not None:
                with contextlib.suppress(RuntimeError):  # of a loop that has ended
                    writer.transport.abort()


@contextlib.contextmanager
def _heeding_cancellation() -> Iterator[None]:
    """Raise a CancelledError that was dropped inside.

    Python 3.11's `wait_for` does so where what it waits for comes at the same moment; whoever loops for ever
    around a question would never end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        yield
    finally:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError


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
        "skip_subject_validation": True,  # they are made of safe parts, and there are thousands a second
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
