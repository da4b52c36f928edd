"""From a request to its answer, the same for REST and the WebSocket API: read, weigh, authenticate, handle.

A transport brings a request into the form of `Request` and writes back the JSON, or the `ApiError`, that comes out.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
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
from runtime.gateway.wallet import Wallet
from runtime.ledger.history import HistoryUnavailableError, LedgerBehindError
from runtime.shared.engine_link import EngineBusyError, EngineError, EngineUnavailableError
from runtime.shared.messages import (
    AskMarket,
    Command,
    ListPlaced,
    MarketState,
    OrderPlaced,
    OrderReplaced,
    Replied,
    Reply,
)
from runtime.shared.telemetry import Telemetry

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


class Sending(Struct):
    """A command for the engine, and how its reply is told to the client."""

    command: Command
    answer: Callable[["Exchange", Call, Replied], bytes]
    """Raises ApiError when the reply is a refusal."""
    new_orders: int = 0
    """How many orders it places: counted against the limits of the account before it is sent."""


class Operation(Struct, frozen=True, kw_only=True):
    """One thing a client may ask for. It is reached by REST, by the WebSocket API, or by both."""

    rest: tuple[str, str] | None = None
    """HTTP method and path."""
    ws: str | None = None
    """Method of the WebSocket API."""
    weight: int | Callable[[Values], int]
    security: str = NONE
    parameters: Parameters
    answers: tuple[Any, ...] = ()
    """Types of the JSON that it answers with, one of them each time; nothing for what is always refused."""
    handle: Handler | None = None
    send: Callable[["Exchange", Call], Sending] | None = None
    """In place of `handle`: what it has the engine do. The weight is charged first, and given back if that succeeds."""


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
        wallet: Wallet | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """Serve from these parts; whoever made them starts and stops them. Only REST has a wallet."""
        self.telemetry = telemetry or Telemetry("")
        self.wallet = wallet
        self.listings = listings
        self.engine = PromptEngine(engine)
        self.market = market
        self.history = AccountHistory(self.engine, ledger)
        self.keys = keys
        self.limiter = limiter
        self._statuses: dict[int, int] = {}
        self._references: dict[int, tuple[int, int]] = {}
        self._statuses_read_s = float("-inf")
        self._reading_statuses = asyncio.Lock()

    @cached_property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The loop that serves. It is kept, as Python asks the kernel for the process id whenever it looks it up."""
        return asyncio.get_running_loop()

    @property
    def is_ready(self) -> bool:
        """Tell whether the engine and market data can be asked."""
        return self.engine.connected and self.market.connected

    # ---- requests ------------------------------------------------------------------------------------------------

    async def serve(self, operation: Operation, request: Request) -> Outcome:
        """Carry out a request. Raises ApiError for everything that can go wrong in a way that is known."""
        key = self.keys.cached(request.api_key) if request.api_key else None
        call = self.admit_now(operation, request, key) if key else await self.admit(operation, request)
        return await self.carry_out(call)

    async def admit(self, operation: Operation, request: Request) -> Call:
        """Read, weigh and authenticate a request. Raises ApiError."""
        call = self._weigh(operation, request)
        if call.timing is not None:
            call.key = await self.authenticate(operation.security, request, call.timing)
        return call

    def admit_now(self, operation: Operation, request: Request, key: ApiKey) -> Call:
        """Do what `admit` does, without waiting, for a request that names `key`. Raises ApiError."""
        call = self._weigh(operation, request)
        if call.timing is not None:
            _check_signed(request, call.timing)
            call.key = _proven(key, operation.security, request)
        return call

    def _weigh(self, operation: Operation, request: Request) -> Call:
        """Read and weigh a request, and read when it was made if it must be signed."""
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
        return call

    async def carry_out(self, call: Call) -> Outcome:
        """Have a call handled; its command is with the engine link before this waits for anything. Raises ApiError."""
        handle = call.operation.handle
        if handle is None:
            return await self._sent(call)
        try:
            body = await handle(self, call)
        except Exception as error:
            raise _told(error) from error
        return Outcome(body, call.used_weight)

    async def _sent(self, call: Call) -> Outcome:
        answered: asyncio.Future[Outcome] = self._loop.create_future()

        def settle(outcome: Outcome | Exception) -> None:
            if answered.done():  # whoever waited was cancelled
                return
            if isinstance(outcome, Exception):
                answered.set_exception(outcome)
            else:
                answered.set_result(outcome)

        self.begin(call, settle)
        return await answered

    def begin(self, call: Call, tell: Callable[[Outcome | Exception], None]) -> None:
        """Send the command of a call to the engine. `tell` is called once with the answer, or with what went wrong.

        Raises ApiError when nothing was sent: then nothing will be told.
        """
        assert call.operation.send
        sending = call.operation.send(self, call)
        call.check_fresh()
        key = call.owner
        for _ in range(sending.new_orders):
            call.order_counts = self.limiter.count_order(key.account, key.tier)

        def hear(replied: Replied | EngineError) -> None:
            try:
                if isinstance(replied, EngineError):
                    raise _told(replied) from replied
                if sending.new_orders and _leaves_no_order(replied.reply):
                    self._forget_orders(call, sending)
                body = sending.answer(self, call, replied)
                used = self.limiter.refund(call.address, call.weight, call.minute)
                outcome: Outcome | Exception = Outcome(body, used, call.order_counts, key.tier)
            except Exception as error:  # noqa: BLE001 - told to whoever asked, who logs what nobody expected
                outcome = error
            tell(outcome)

        try:
            self.engine.submit(sending.command, hear)
        except EngineBusyError as error:
            self._forget_orders(call, sending)
            raise _told(error) from error

    def _forget_orders(self, call: Call, sending: Sending) -> None:
        for _ in range(sending.new_orders):
            call.order_counts = self.limiter.forget_order(call.owner.account)

    async def authenticate(self, permission: str, request: Request, timing: Timing) -> ApiKey:
        """Return the key of a fresh, signed request that may do what needs `permission`. Raises -1021 to -2015."""
        _check_signed(request, timing)
        name = request.api_key or request.logged_on
        return _proven(self.keys.cached(name) or await self.keys.get(name), permission, request)

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

    async def reference_price(self, market: int) -> tuple[int, int]:
        """Return the reference price of a market in ticks, 0 while there is none, and when it was set; 0 for never.

        At most STATUS_AGE_S old, or the last known while there is no engine.
        """
        await self.market_statuses()
        return self._references.get(market, (0, 0))

    async def _read_statuses(self) -> None:
        answers = await asyncio.gather(*(self.engine.ask(AskMarket(number)) for number in self.listings.by_id))
        states = [answered.answer for answered in answers]
        known = [state for state in states if isinstance(state, MarketState)]
        self._statuses = {state.market: state.status for state in known}
        self._references = {state.market: (state.reference_price, state.reference_us) for state in known}
        self._statuses_read_s = time.monotonic()


def _check_signed(request: Request, timing: Timing) -> None:
    """Raise -1021 or -1102 for what is refused before any key is looked at."""
    timing.check(now_us())
    if request.api_key and not request.sent.get("signature"):
        raise MANDATORY.error("signature")


def _proven(key: ApiKey | None, permission: str, request: Request) -> ApiKey:
    """Return the key that a request names, if it may do this and has signed it. Raises -1022 or -2015."""
    if key is None or not key.may(permission, request.address):
        raise REJECTED_API_KEY.error()
    if not request.api_key:
        return key
    for payload in request.payloads:
        if key.verify(payload, request.sent["signature"]):
            return key
    raise BAD_SIGNATURE.error()


def _leaves_no_order(reply: Reply) -> bool:
    """Tell whether the orders that were to be placed do not count: refused, or filled in part at once."""
    if isinstance(reply, OrderPlaced):
        return bool(reply.fills)
    if isinstance(reply, OrderReplaced):
        return reply.placed is None or _leaves_no_order(reply.placed)
    return not isinstance(reply, ListPlaced)


def _told(error: Exception) -> Exception:
    """Return what a client hears of `error`; what nobody expected is returned as it is."""
    match error:
        case EngineBusyError() | MarketBusyError():
            return OVERLOADED.error()
        case EngineUnavailableError() | LedgerBehindError():
            return TIMED_OUT.error()
        case MarketUnavailableError() | HistoryUnavailableError():
            logger.warning("not answered: %s", error)
            return DISCONNECTED.error()
    return error


async def not_supported(_exchange: Exchange, _call: Call) -> bytes:
    """Refuse what is documented but not built."""
    raise NOT_SUPPORTED.error()
