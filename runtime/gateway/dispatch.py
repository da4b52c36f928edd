"""From a request to its answer, the same for REST and the WebSocket API: read, weigh, authenticate, handle.

A transport brings a request into the form of `Request` and writes back the JSON, or the `ApiError`, that comes out.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Protocol

from msgspec import Struct

from runtime.gateway.api_keys import ApiKeys
from runtime.gateway.auth import ApiKey, Timing, read_timing
from runtime.gateway.engine import Engine, PromptEngine
from runtime.gateway.errors import (
    BAD_SIGNATURE,
    DISCONNECTED,
    MANDATORY,
    NOT_SUPPORTED,
    OVERLOADED,
    REJECTED_API_KEY,
    TIMED_OUT,
    UNKNOWN,
    ApiError,
)
from runtime.gateway.history import AccountHistory, Ledger
from runtime.gateway.limits import Limiter
from runtime.gateway.listings import Listings
from runtime.gateway.market_link import MarketBusyError, MarketQuestion, MarketUnavailableError
from runtime.gateway.params import Parameters, Values
from runtime.gateway.views import MS
from runtime.ledger.history import HistoryUnavailableError, LedgerBehindError
from runtime.shared.engine_link import EngineBusyError, EngineError, EngineUnavailableError
from runtime.shared.messages import AskMarket, MarketState

logger = logging.getLogger(__name__)

NONE: Final = ""
"""Security of what everyone may ask; the others are the permissions TRADE and READ, and need a signature."""
STATUS_AGE_S: Final = 2.0
"""How old the status of a market may be in exchangeInfo."""


def now_us() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


class Request(Struct):
    """What a client sent, whatever it came over."""

    sent: dict[str, str]
    address: str
    payloads: Iterable[bytes] = ()
    """What the signature may be over, the likeliest first; nothing where none is needed."""
    api_key: str = ""
    logged_on: str = ""
    """The API key that the connection has proven to own; counts when the request names none."""
    unit: int = MS
    """Microseconds in one of the client's units of time: MS or US."""


class Call(Struct):
    """A request that may be carried out."""

    operation: "Operation"
    values: Values
    unit: int
    address: str
    weight: int
    minute: int
    """In which minute of the limiter the weight was charged."""
    used_weight: int
    key: ApiKey | None = None
    timing: Timing | None = None
    order_counts: tuple[int, int] | None = None
    """Unfilled orders of these 10 seconds and this day, once the request has placed one."""

    @property
    def owner(self) -> ApiKey:
        """The key of a signed request."""
        if self.key is None:
            raise UNKNOWN.error()
        return self.key

    def check_fresh(self) -> None:
        """Raise -1021 if the request has become stale by now; asked again just before it takes effect."""
        if self.timing is not None:
            self.timing.check(now_us())


class Outcome(Struct):
    """The answer to a request: JSON, and what of the limits has been used."""

    body: bytes
    used_weight: int
    order_counts: tuple[int, int] | None = None
    tier: str = ""
    """Whose order limits the counts are measured by."""


class Market(Protocol):
    """The part of `MarketLink` that the gateway uses."""

    connected: bool

    async def ask(self, question: MarketQuestion) -> tuple[int, bytes]:
        """Return code 0 and JSON for the client, or a documented code and its text."""


Handler = Callable[["Exchange", Call], Awaitable[bytes]]


class Operation(Struct, frozen=True, kw_only=True):
    """One thing a client may ask for. It is reached by REST, by the WebSocket API, or by both."""

    rest: tuple[str, str] | None = None
    """HTTP method and path."""
    ws: str | None = None
    """Method of the WebSocket API."""
    weight: int | Callable[[Values], int]
    security: str = NONE
    parameters: Parameters
    handle: Handler
    answers: tuple[Any, ...] = ()
    """Types of the JSON that it answers with, one of them each time; nothing for what is always refused."""
    is_free: bool = False
    """Weighs nothing when it succeeds: the weight is charged first, as of any other, and given back then."""


class Exchange:
    """What stands behind the API: engine, market data, history, keys and limits."""

    def __init__(
        self,
        *,
        listings: Listings,
        engine: Engine,
        market: Market,
        ledger: Ledger,
        keys: ApiKeys,
        limiter: Limiter,
    ) -> None:
        """Serve from these parts; whoever made them starts and stops them."""
        self.listings = listings
        self.engine = PromptEngine(engine)
        self.market = market
        self.history = AccountHistory(self.engine, ledger)
        self.keys = keys
        self.limiter = limiter
        self._statuses: dict[int, int] = {}
        self._statuses_read_s = float("-inf")
        self._reading_statuses = asyncio.Lock()

    @property
    def is_ready(self) -> bool:
        """Tell whether the engine and market data can be asked."""
        return self.engine.connected and self.market.connected

    # ---- requests ------------------------------------------------------------------------------------------------

    async def serve(self, operation: Operation, request: Request) -> Outcome:
        """Carry out a request. Raises ApiError for everything that can go wrong in a way that is known."""
        return await self.carry_out(await self.admit(operation, request))

    async def admit(self, operation: Operation, request: Request) -> Call:
        """Read, weigh and authenticate a request. Raises ApiError."""
        weight = operation.weight
        limiter = self.limiter
        try:
            values = operation.parameters.read(request.sent, self.listings)
        except ApiError:
            limiter.charge(request.address, weight if isinstance(weight, int) else 1)
            raise
        cost = weight if isinstance(weight, int) else weight(values)
        used = limiter.charge(request.address, cost)
        call = Call(operation, values, request.unit, request.address, cost, limiter.weights.number, used)
        if operation.security:
            call.timing = read_timing(request.sent)
            call.key = await self.authenticate(operation.security, request, call.timing)
        return call

    async def carry_out(self, call: Call) -> Outcome:
        """Have a call handled; its command is with the engine link before this waits for anything. Raises ApiError."""
        try:
            body = await call.operation.handle(self, call)
        except Exception as error:
            told = _told(error)
            if told is None:
                raise
            raise told from error
        used = call.used_weight
        if call.operation.is_free:
            used = self.limiter.refund(call.address, call.weight, call.minute)
        return Outcome(body, used, call.order_counts, call.key.tier if call.key else "")

    async def authenticate(self, permission: str, request: Request, timing: Timing) -> ApiKey:
        """Return the key of a fresh, signed request that may do what needs `permission`. Raises -1021 to -2015."""
        timing.check(now_us())
        name = request.api_key or request.logged_on
        signature = request.sent.get("signature", "")
        if request.api_key and not signature:
            raise MANDATORY.error("signature")
        key = self.keys.cached(name) or await self.keys.get(name)
        if key is None or not key.may(permission, request.address):
            raise REJECTED_API_KEY.error()
        if not request.api_key:
            return key
        for payload in request.payloads:
            if key.verify(payload, signature):
                return key
        raise BAD_SIGNATURE.error()

    # ---- the services behind ---------------------------------------------------------------------------------------

    async def ask_market(self, question: MarketQuestion) -> bytes:
        """Return market data's answer. Raises its error as ApiError."""
        code, body = await self.market.ask(question)
        if code:
            raise ApiError(code, body.decode())
        return body

    async def market_statuses(self) -> dict[int, int]:
        """Return the status of every market, at most STATUS_AGE_S old, or the last known while there is no engine."""
        async with self._reading_statuses:
            if time.monotonic() - self._statuses_read_s > STATUS_AGE_S:
                try:
                    await self._read_statuses()
                except EngineError:
                    if not self._statuses:
                        raise
            return self._statuses

    async def _read_statuses(self) -> None:
        answers = await asyncio.gather(*(self.engine.ask(AskMarket(number)) for number in self.listings.by_id))
        states = [answered.answer for answered in answers]
        self._statuses = {state.market: state.status for state in states if isinstance(state, MarketState)}
        self._statuses_read_s = time.monotonic()


def _told(error: Exception) -> ApiError | None:
    """Return what a client hears of `error`, or None for one that nobody expected."""
    match error:
        case EngineBusyError() | MarketBusyError():
            return OVERLOADED.error()
        case EngineUnavailableError() | LedgerBehindError():
            return TIMED_OUT.error()
        case MarketUnavailableError() | HistoryUnavailableError():
            logger.warning("not answered: %s", error)
            return DISCONNECTED.error()
    return None


async def not_supported(_exchange: Exchange, _call: Call) -> bytes:
    """Refuse what is documented but not built."""
    raise NOT_SUPPORTED.error()
