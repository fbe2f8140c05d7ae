"""stub, replaced at merge"""

from __future__ import annotations


class MarketHours:
    def is_open(self, exchange: str, at: float) -> bool:
        return True


ALWAYS_OPEN = MarketHours()
