"""OpenAlgo's REST endpoints for market data, beside the statistics, the journal and a sign of life."""

from brokerpool.gateway.rest.application import application
from brokerpool.gateway.rest.listener import RestServer, serve_rest
from brokerpool.gateway.rest.market_data_access import Market
from brokerpool.gateway.rest.request_authorization import Access

__all__ = ["Access", "Market", "RestServer", "application", "serve_rest"]
