"""One connection to the WebSocket API: requests in JSON, answers in JSON, and the account's events in between.

Requests of a connection are carried out in the order they came; answers come as they are ready. A request takes its
turn once the one before has been admitted, which waits at most for its API key to be read. What changes the session
itself (logging on, subscribing) keeps the turn until it is done.

`ApiSession` touches no socket. Its shell hands it texts and a way to send; so it can be tested as it is.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from runtime.gateway import params
from runtime.gateway.auth import ANY, ED25519, READ, ApiKey, read_timing, ws_payloads
from runtime.gateway.dispatch import Exchange, Operation, Outcome, Request, now_us
from runtime.gateway.endpoints import METHODS
from runtime.gateway.errors import (
    ALREADY_SUBSCRIBED,
    BAD_JSON,
    BAD_PARAMETER,
    BAD_TIME_UNIT,
    BANNED,
    ILLEGAL_CHARACTERS,
    MANDATORY,
    MESSAGE_TOO_LARGE,
    NO_SUCH_ROUTE,
    NOT_SUBSCRIBED,
    REJECTED_API_KEY,
    SUBSCRIPTIONS_EXHAUSTED,
    TOO_LARGE,
    TOO_MANY_QUEUED,
    UNAUTHORIZED_ACTION,
    UNKNOWN,
    ApiError,
)
from runtime.gateway.params import Parameter, Parameters, Values
from runtime.gateway.user_data import UserStreams, server_shutdown, stream_terminated
from runtime.gateway.views import MS, US, encode

logger = logging.getLogger(__name__)

MESSAGE_BYTES_MAX: Final = 65_536
"""A longer request is answered with an error and ends the connection."""
IN_FLIGHT_MAX: Final = 1_024
"""Requests of one connection that are not answered yet."""
SEND_BUFFER_BYTES_MAX: Final = 4 * 1024 * 1024
"""A client that lets more wait for it is cut off."""
SUBSCRIPTIONS_MAX: Final = 1_000
SUBSCRIPTION_IDS_MAX: Final = 65_535
CONNECT_WEIGHT: Final = 2
SESSION_WEIGHT: Final = 2

GOING_AWAY: Final = 1001
POLICY_VIOLATION: Final = 1008
MESSAGE_TOO_BIG: Final = 1009

TIME_UNITS: Final = {"MILLISECOND": MS, "MICROSECOND": US}
_ID_RANGE: Final = "^[a-zA-Z0-9-_]{1,36}$"
_ID_LENGTH_MAX: Final = 36
_INT64_MAX: Final = 2**63
_INT64_DIGITS: Final = 19
_VERSION: Final = "v3/"


class Options(Struct, frozen=True):
    """What a client chose in the URL for the whole connection."""

    unit: int = MS
    has_rate_limits: bool = True


def read_options(query: str) -> Options:
    """Read the query string of the connection's URL. Raises -1194 or -1130; what it does not know it ignores."""
    chosen = {name: values[-1] for name, values in parse_qs(query).items()}
    return Options(
        read_time_unit(chosen.get("timeUnit", "MILLISECOND")),
        _flag(params.RETURN_RATE_LIMITS, chosen.get(params.RETURN_RATE_LIMITS, "true")),
    )


def read_time_unit(text: str) -> int:
    """Return MS or US. Raises -1194."""
    unit = TIME_UNITS.get(text.upper())
    if unit is None:
        raise BAD_TIME_UNIT.error()
    return unit


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise BAD_PARAMETER.error(name)
    return text == "true"


class _Frame(Struct, gc=False):
    """A request as it comes."""

    method: str
    id: Raw | UnsetType = UNSET
    params: dict[str, Any] | None = None


_decode_id: Final = msgspec.json.Decoder(int | str | None).decode
_decode_frame: Final = msgspec.json.Decoder(_Frame, float_hook=str).decode  # a signature is over the digits as sent


class Subscription(Struct, eq=False):
    """The events of one account, on one connection."""

    session: "ApiSession"
    number: int
    account: int
    api_key: str
    is_of_logon: bool

    @property
    def unit(self) -> int:
        """Microseconds in one of the client's units of time."""
        return self.session.options.unit

    def hear(self, event: bytes) -> None:
        """Send one event on."""
        self.session.write(b'{"subscriptionId":%d,"event":%b}' % (self.number, event))


_SessionMethod = Callable[["ApiSession", dict[str, str], Values], Awaitable[bytes]]


class ApiSession:
    """The state of one connection."""

    def __init__(
        self,
        exchange: Exchange,
        users: UserStreams,
        options: Options,
        *,
        address: str,
        send: Callable[[bytes], None],
        close: Callable[[int, str], None],
        buffered: Callable[[], int],
    ) -> None:
        """Serve a client at `address`. `send` must not block; `buffered` tells how many bytes it has not got rid of."""
        self.options = options
        self._exchange = exchange
        self._users = users
        self._address = address
        self._send = send
        self._close = close
        self._buffered = buffered
        self._connected_us = now_us()
        self._logged_on: ApiKey | None = None
        self._logged_on_us = 0
        self._subscriptions: dict[int, Subscription] = {}
        self._next_subscription = 0
        self._turn = asyncio.Lock()  # fair: whoever came first has it first
        self._tasks: set[asyncio.Task[None]] = set()
        self._queued = 0
        """Requests that have not had their turn."""
        self._in_flight = 0
        self._idle: asyncio.Event | None = None
        """Set once nothing is in flight any more; there is one when that is waited for."""
        self._is_closed = False

    # ---- the shell's side ----------------------------------------------------------------------------------------

    def open(self) -> None:
        """Count the connection itself. Raises -1003."""
        self._exchange.limiter.charge(self._address, CONNECT_WEIGHT)

    def on_message(self, payload: bytes) -> None:
        """Take one request."""
        request_id = b"null"
        try:
            if len(payload) > MESSAGE_BYTES_MAX:
                raise MESSAGE_TOO_LARGE.error(MESSAGE_BYTES_MAX)
            frame = _read_frame(payload)
            request_id = _read_id(frame.id)
            if self._in_flight >= IN_FLIGHT_MAX:
                raise TOO_MANY_QUEUED.error()
            self._begin(request_id, frame)
        except ApiError as error:
            self._refuse(request_id, error)

    def _refuse(self, request_id: bytes, error: ApiError) -> None:
        """Answer what never became a request; it counts none the less."""
        try:
            self._exchange.limiter.charge(self._address, 1)
        except ApiError as limited:
            error = limited
        self._answer_error(request_id, error, has_rate_limits=self.options.has_rate_limits)
        if error.status == TOO_LARGE:
            self._close(MESSAGE_TOO_BIG, error.text)

    def on_close(self) -> None:
        """Forget the client: what it asked for is carried out, but nobody is told."""
        self._is_closed = True
        for subscription in self._subscriptions.values():
            self._users.remove(subscription.account, subscription)
        self._subscriptions.clear()

    async def shut_down(self, timeout_s: float) -> None:
        """Announce the end, let what is under way be answered, and close."""
        self.write(b'{"event":%b}' % server_shutdown(now_us(), self.options.unit))
        if self._in_flight:
            self._idle = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), timeout_s)
        self._close(GOING_AWAY, "The server is shutting down.")

    async def check_subscriptions(self) -> None:
        """End the subscriptions whose API key is no longer good."""
        for subscription in list(self._subscriptions.values()):
            try:
                key = await self._exchange.keys.get(subscription.api_key)
            except ApiError:
                continue  # the keys cannot be read now; the next check will tell
            if key is None or not key.may(READ, self._address):
                self._end(subscription)

    def write(self, message: bytes) -> None:
        """Send a message, or cut off a client that does not take what it was sent."""
        if self._is_closed:
            return
        if self._buffered() > SEND_BUFFER_BYTES_MAX:
            logger.info("client cut off: it does not read", extra={"address": self._address})
            self.on_close()
            self._close(POLICY_VIOLATION, "Too much unread data.")
            return
        self._send(message)

    # ---- requests ------------------------------------------------------------------------------------------------

    def _begin(self, request_id: bytes, frame: _Frame) -> None:
        sent = params.parse_json(frame.params) if frame.params else {}
        method = frame.method.removeprefix(_VERSION)
        operation = METHODS.get(method)
        if operation is not None and operation.send is not None and not self._queued:
            key = self._exchange.keys.cached(sent.get("apiKey") or self._logon_name())
            if key is not None:
                self._order(request_id, operation, sent, key)
                return
        if method in SESSION_METHODS:
            run = self._change(request_id, method, sent)
        else:
            run = self._run(request_id, operation, sent)
        self._in_flight += 1
        self._queued += 1
        task = asyncio.create_task(run)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._idle is not None and not self._in_flight:
            self._idle.set()

    def _order(self, request_id: bytes, operation: Operation, sent: dict[str, str], key: ApiKey) -> None:
        """Send an order on at once: nobody is before it, and its key is at hand. Its answer comes without a task."""
        self._in_flight += 1
        shows, logged_on = self.options.has_rate_limits, ""

        def answer(outcome: Outcome | Exception) -> None:
            try:
                self._answer(request_id, outcome, logged_on, shows=shows)
            finally:
                self._leave()

        try:
            shows = self._shows_rate_limits(sent)
            request = self._request(operation, sent)
            logged_on = request.logged_on
            self._exchange.begin(self._exchange.admit_now(operation, request, key), answer)
        except Exception as error:  # noqa: BLE001 - answered, and logged if nobody expected it
            answer(error)

    async def _run(self, request_id: bytes, operation: Operation | None, sent: dict[str, str]) -> None:
        """Carry out a request to the exchange."""
        shows, logged_on = self.options.has_rate_limits, ""
        try:
            async with self._in_turn():
                shows = self._shows_rate_limits(sent)
                if operation is None:
                    self._exchange.limiter.charge(self._address, 1)
                    raise NO_SUCH_ROUTE.error()
                request = self._request(operation, sent)
                logged_on = request.logged_on
                call = await self._exchange.admit(operation, request)
            # Whoever is next runs only once this waits, and a command has been sent by then.
            outcome: Outcome | Exception = await self._exchange.carry_out(call)
        except Exception as error:  # noqa: BLE001 - answered, and logged if nobody expected it
            outcome = error
        try:
            self._answer(request_id, outcome, logged_on, shows=shows)
        finally:
            self._leave()

    @contextlib.asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Wait for this request's turn, and keep it for as long as the body takes."""
        async with self._turn:
            try:
                yield
            finally:
                self._queued -= 1

    def _logon_name(self) -> str:
        return self._logged_on.api_key if self._logged_on else ""

    def _request(self, operation: Operation, sent: dict[str, str]) -> Request:
        """Return a request with what proves whose it is. Raises -1102."""
        api_key = logged_on = ""
        payloads: Iterable[bytes] = ()
        if operation.security:
            api_key = sent.get("apiKey", "")
            if api_key:
                payloads = ws_payloads(sent)
            elif self._logged_on is None:
                raise MANDATORY.error("apiKey")
            else:
                logged_on = self._logged_on.api_key
        return Request(sent, self._address, payloads, api_key, logged_on, self.options.unit)

    def _answer(self, request_id: bytes, outcome: Outcome | Exception, logged_on: str, *, shows: bool) -> None:
        """Send the answer to a request to the exchange, which counted on `logged_on` if that is not empty."""
        if isinstance(outcome, Outcome):
            limits = self._rate_limits(outcome.used_weight, outcome.order_counts, outcome.tier) if shows else b""
            self.write(b'{"id":%b,"status":200,"result":%b%b}' % (request_id, outcome.body, limits))
            return
        if not isinstance(outcome, ApiError):
            logger.error("a request failed", exc_info=outcome)
            outcome = UNKNOWN.error()
        if logged_on and outcome.code == REJECTED_API_KEY.code:
            self._log_off()
        self._answer_error(request_id, outcome, has_rate_limits=shows)

    async def _change(self, request_id: bytes, method: str, sent: dict[str, str]) -> None:
        """Carry out a request about the session, while those behind it wait."""
        try:
            async with self._in_turn():
                await self._change_now(request_id, method, sent)
        finally:
            self._leave()

    async def _change_now(self, request_id: bytes, method: str, sent: dict[str, str]) -> None:
        shows = self.options.has_rate_limits
        try:
            shows = self._shows_rate_limits(sent)
            declared, change = SESSION_METHODS[method]
            used = self._exchange.limiter.charge(self._address, SESSION_WEIGHT)
            body = await change(self, sent, declared.read(sent, self._exchange.listings))
            limits = self._rate_limits(used) if shows else b""
            self.write(b'{"id":%b,"status":200,"result":%b%b}' % (request_id, body, limits))
        except ApiError as error:
            self._answer_error(request_id, error, has_rate_limits=shows)
        except Exception:
            logger.exception("a request about the session failed")
            self._answer_error(request_id, UNKNOWN.error(), has_rate_limits=shows)

    def _shows_rate_limits(self, sent: dict[str, str]) -> bool:
        chosen = sent.get(params.RETURN_RATE_LIMITS)
        return self.options.has_rate_limits if chosen is None else _flag(params.RETURN_RATE_LIMITS, chosen)

    def _answer_error(self, request_id: bytes, error: ApiError, *, has_rate_limits: bool) -> None:
        body: dict[str, object] = {"code": error.code, "msg": error.text}
        if error.data is not None:
            body["data"] = error.data
        if error.retry_at_us:
            body["data"] = {
                "serverTime": now_us() // self.options.unit,
                "retryAfter": error.retry_at_us // self.options.unit,
            }
        limits = self._rate_limits(self._exchange.limiter.used_weight(self._address)) if has_rate_limits else b""
        self.write(b'{"id":%b,"status":%d,"error":%b%b}' % (request_id, error.status, encode(body), limits))
        if error.status == BANNED:
            self._close(POLICY_VIOLATION, "This address is banned.")

    def _rate_limits(self, used_weight: int, order_counts: tuple[int, int] | None = None, tier: str = "") -> bytes:
        """Return the member that tells how much of the limits is used."""
        limiter = self._exchange.limiter
        weight = limiter.weight_rate.with_count(used_weight)
        if order_counts is None:
            return b',"rateLimits":[%b]' % weight
        short, day = limiter.order_rates(tier)
        of_short, of_day = order_counts
        return b',"rateLimits":[%b,%b,%b]' % (short.with_count(of_short), day.with_count(of_day), weight)

    # ---- the session ---------------------------------------------------------------------------------------------

    async def _log_on(self, sent: dict[str, str], _values: Values) -> bytes:
        key = await self._signed(sent, ANY)
        if key.kind != ED25519:
            raise REJECTED_API_KEY.error()
        self._logged_on = key
        self._logged_on_us = now_us()
        return self._status()

    async def _tell_status(self, _sent: dict[str, str], _values: Values) -> bytes:
        return self._status()

    async def _log_out(self, _sent: dict[str, str], _values: Values) -> bytes:
        self._log_off()
        return self._status()

    def _log_off(self) -> None:
        self._logged_on = None
        for subscription in list(self._subscriptions.values()):
            if subscription.is_of_logon:
                self._end(subscription)

    def _status(self) -> bytes:
        key, unit = self._logged_on, self.options.unit
        return encode(
            {
                "apiKey": key.api_key if key else None,
                "authorizedSince": self._logged_on_us // unit if key else None,
                "connectedSince": self._connected_us // unit,
                "returnRateLimits": self.options.has_rate_limits,
                "serverTime": now_us() // unit,
                "userDataStream": any(each.is_of_logon for each in self._subscriptions.values()),
            }
        )

    async def _signed(self, sent: dict[str, str], permission: str) -> ApiKey:
        """Return the key that signed this request."""
        api_key = sent.get("apiKey", "")
        if not api_key:
            raise MANDATORY.error("apiKey")
        timing = read_timing(sent)
        request = Request(sent, self._address, ws_payloads(sent), api_key)
        return await self._exchange.authenticate(permission, request, timing)

    # ---- the account's events --------------------------------------------------------------------------------------

    async def _subscribe(self, _sent: dict[str, str], _values: Values) -> bytes:
        if self._logged_on is None:
            raise UNAUTHORIZED_ACTION.error()
        key = await self._exchange.keys.get(self._logged_on.api_key)
        if key is None or not key.may(READ, self._address):
            self._log_off()
            raise REJECTED_API_KEY.error()
        return self._open_subscription(key, is_of_logon=True)

    async def _subscribe_signed(self, sent: dict[str, str], _values: Values) -> bytes:
        return self._open_subscription(await self._signed(sent, READ), is_of_logon=False)

    def _open_subscription(self, key: ApiKey, *, is_of_logon: bool) -> bytes:
        if any(each.account == key.account for each in self._subscriptions.values()):
            raise ALREADY_SUBSCRIBED.error()
        if self._next_subscription >= SUBSCRIPTION_IDS_MAX or len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            raise SUBSCRIPTIONS_EXHAUSTED.error()
        number = self._next_subscription
        self._next_subscription += 1
        subscription = Subscription(self, number, key.account, key.api_key, is_of_logon)
        if not self._is_closed:
            self._subscriptions[number] = subscription
            self._users.add(key.account, subscription)
        return b'{"subscriptionId":%d}' % number

    async def _unsubscribe(self, _sent: dict[str, str], values: Values) -> bytes:
        number: int | None = values.get("subscriptionId")
        ended = [each for each in self._subscriptions.values() if number in (None, each.number)]
        if not ended:
            raise NOT_SUBSCRIBED.error()
        for subscription in ended:
            self._end(subscription)
        return b"{}"

    async def _list_subscriptions(self, _sent: dict[str, str], _values: Values) -> bytes:
        return encode([{"subscriptionId": number} for number in self._subscriptions])

    def _end(self, subscription: Subscription) -> None:
        self._users.remove(subscription.account, subscription)
        self._subscriptions.pop(subscription.number, None)
        subscription.hear(stream_terminated(now_us(), self.options.unit))


_NOTHING: Final = Parameters(())
_PROOF: Final = Parameters((), is_signed=True)

SESSION_METHODS: Final[dict[str, tuple[Parameters, _SessionMethod]]] = {
    "session.logon": (_PROOF, ApiSession._log_on),  # noqa: SLF001 - the table belongs to the class
    "session.status": (_NOTHING, ApiSession._tell_status),  # noqa: SLF001
    "session.logout": (_NOTHING, ApiSession._log_out),  # noqa: SLF001
    "session.subscriptions": (_NOTHING, ApiSession._list_subscriptions),  # noqa: SLF001
    "userDataStream.subscribe": (_NOTHING, ApiSession._subscribe),  # noqa: SLF001
    "userDataStream.subscribe.signature": (_PROOF, ApiSession._subscribe_signed),  # noqa: SLF001
    "userDataStream.unsubscribe": (
        Parameters((Parameter("subscriptionId", params.long),)),
        ApiSession._unsubscribe,  # noqa: SLF001
    ),
}
"""What is about the session itself: parameters and the method that carries it out."""


def _read_frame(text: bytes) -> _Frame:
    try:
        return _decode_frame(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # malformed, nested too deeply, or no request
        raise BAD_JSON.error() from None


def _read_id(raw: Raw | UnsetType) -> bytes:
    """Return a request's id as it is written. Raises -1100 for anything but null, an int64 or a short string."""
    if isinstance(raw, UnsetType):
        return b"null"
    text = bytes(raw)
    if text.isdigit() and len(text) < _INT64_DIGITS:  # as most are
        return text
    try:
        value = _decode_id(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ILLEGAL_CHARACTERS.error("id", _ID_RANGE) from None
    if isinstance(value, str):
        is_good = len(value) <= _ID_LENGTH_MAX
    else:
        is_good = value is None or -_INT64_MAX <= value < _INT64_MAX
    if not is_good:
        raise ILLEGAL_CHARACTERS.error("id", _ID_RANGE)
    return text
