"""The promises that every adapter keeps, as tests; pytest and hypothesis have to be installed."""

from brokerpool.testing.conformance.pool_promises import PoolPromises
from brokerpool.testing.conformance.wire_promises import WirePromises

__all__ = ["AdapterConformance"]


class AdapterConformance(WirePromises, PoolPromises):
    """One suite for every adapter: inherit it in a class `Test...`, give an account and the broker's dialect.

    Each test is one promise of the contract. What the broker gives no occasion for is skipped: a greeting,
    signs of life, refusals by name, evictions.
    """
