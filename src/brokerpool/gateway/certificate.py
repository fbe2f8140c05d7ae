"""The certificate of both listeners, which may be replaced while clients are connected."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from brokerpool.errors import SettingsError

_CERT, _KEY = "BROKERPOOL_TLS_CERT_FILE", "BROKERPOOL_TLS_KEY_FILE"


class Certificate:
    """A certificate and its key from two files, for TLS 1.2 and newer."""

    def __init__(self, cert_file: Path, key_file: Path) -> None:
        """Raises SettingsError for files that cannot be read or do not belong together."""
        self.files = (cert_file, key_file)
        #: Epoch seconds at which the certificate in use ends; None where the file does not say it in PEM.
        self.ends: float | None = None
        #: What listeners use; a new certificate appears in it.
        self.context = self._loaded()

    @classmethod
    def of(cls, cert_file: str, key_file: str) -> Certificate | None:
        """Return the certificate of the settings, None when there is none. Raises SettingsError."""
        if not cert_file and not key_file:
            return None
        if not cert_file or not key_file:
            given, missing = (_CERT, _KEY) if cert_file else (_KEY, _CERT)
            raise SettingsError(f"{given} is given and {missing} is not; TLS needs both.")
        return cls(Path(cert_file), Path(key_file))

    def reload(self) -> None:
        """Use what the files hold now for new connections; open ones stay as they are.

        Raises SettingsError as the constructor does; the old certificate stays in use then.
        """
        self._loaded()  # a pair that does not fit would spoil the context
        self.context.load_cert_chain(*self.files, password="")

    def _loaded(self) -> ssl.SSLContext:
        for name, file in zip((_CERT, _KEY), self.files, strict=True):
            try:
                file.read_bytes()
            except OSError as error:
                raise SettingsError(f"{name}: {file} cannot be read: {error.strerror}.") from None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(*self.files, password="")
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "they hold no certificate and key in PEM"
            text = f"{_CERT} and {_KEY} are no pair of a certificate and its unencrypted key ({reason})."
            raise SettingsError(text) from None
        with suppress(ValueError):
            # Of a chain the first is the listeners' own, and the one that is renewed.
            own = x509.load_pem_x509_certificate(self.files[0].read_bytes())
            self.ends = own.not_valid_after_utc.timestamp()
        return context
