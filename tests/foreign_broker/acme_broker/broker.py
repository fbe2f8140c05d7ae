"""Acme as brokerpool finds it by its entry point."""

from __future__ import annotations

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.registry import Access, Broker

from .account import AcmeAccount
from .session import AcmeSession


class Acme(Broker):
    """One app for each account."""

    name = "acme"
    limits = FeedLimits.load(__package__)

    def account(self, access: Access) -> AcmeAccount:
        return AcmeAccount(access, self.limits)

    def session(self, access: Access, *, timeout: float = 10.0) -> AcmeSession:
        return AcmeSession(access, timeout)


BROKER = Acme()
