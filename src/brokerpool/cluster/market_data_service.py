"""Asks a broker in the name of gateways: an account's calls leave from whoever holds it, and nowhere else."""

from __future__ import annotations

from brokerpool.cluster import market_data_requests as messages
from brokerpool.cluster.bus import Bus, Subscription
from brokerpool.errors import BrokerpoolError, CallRefusedError, ErrorCode
from brokerpool.http.market_data_interface import MarketDataApi

#: Questions that wait or are on their way; what comes beyond is refused.
MOST_QUESTIONS = 256


class MarketDataService:
    """Answers the questions on one subject until it is closed; the broker's limits are the API's to keep."""

    def __init__(self, bus: Bus, subject: str, api: MarketDataApi) -> None:
        self._api = api
        self._under_way = 0
        self._subscription: Subscription = bus.serve(subject, self._answer)

    def close(self) -> None:
        """Answer no more; a second call does nothing."""
        self._subscription.close()

    async def _answer(self, subject: str, payload: bytes) -> bytes:
        question = messages.read_question(payload)
        try:
            if question is None:
                text = "The question is of another version of brokerpool than this feed node."
                raise BrokerpoolError(text, code=ErrorCode.BROKER_REFUSED_CALL)
            if self._under_way >= MOST_QUESTIONS:
                text = f"{MOST_QUESTIONS} questions are under way at the feed node."
                raise CallRefusedError(text, code=ErrorCode.HTTP_QUEUE_FULL, retry_after=1.0)
            self._under_way += 1
            try:
                return messages.reply(await self._asked(question))
            finally:
                self._under_way -= 1
        except BrokerpoolError as error:
            return messages.refusal(error)

    async def _asked(self, question: messages.Question) -> object:
        api, named = self._api, question.named
        match question.call:
            case "ltp":
                return [*(await api.ltp(named)).values()]
            case "ohlc":
                return [*(await api.ohlc(named)).values()]
            case "quotes":
                return [*(await api.quotes(named)).values()]
            case "depth":
                return await api.depth(named[0])
            case "history" if question.start is not None and question.end is not None:
                return await api.history(named[0], question.interval, question.start, question.end)
            case "intervals":
                return {**api.intervals}
        raise BrokerpoolError(f"There is no call {question.call!r}.", code=ErrorCode.BROKER_REFUSED_CALL)
