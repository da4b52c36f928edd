"""Every error that a client can see: code, exact text and HTTP status. Clients match the texts, so they are contract.

A `Fault` is one row of the documented table; `fault.error("symbol")` fills its blanks and makes the exception.
"""

from dataclasses import dataclass
from typing import Final

import msgspec

from runtime.shared import messages

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
NOT_FOUND: Final = 404
METHOD_NOT_ALLOWED: Final = 405
GONE: Final = 410
TOO_LARGE: Final = 413
BANNED: Final = 418
TOO_MANY: Final = 429
INTERNAL: Final = 500
UNAVAILABLE: Final = 503
TIMEOUT: Final = 504

_encode: Final = msgspec.json.encode


class ErrorView(msgspec.Struct, omit_defaults=True):
    """Why a request was refused: a documented code, its text, and for a cancelReplace what became of its halves."""

    code: int
    msg: str
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class ApiError(Exception):
    """A request that is answered with a code. `retry_at_us` is when another try makes sense, 0 if that says nothing."""

    def __init__(self, code: int, text: str, status: int = BAD_REQUEST, retry_at_us: int = 0) -> None:
        """Prepare the answer; `status` is the HTTP status, which the WebSocket API shows, too."""
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.status = status
        self.retry_at_us = retry_at_us
        self.data: msgspec.Raw | None = None
        """What else the answer says, as JSON; nothing for most errors."""

    def body(self) -> bytes:
        """Return the JSON that the client gets."""
        return _encode(self.view())

    def view(self) -> ErrorView:
        """Return what the client gets."""
        return ErrorView(self.code, self.text, msgspec.UNSET if self.data is None else self.data)


@dataclass(frozen=True, slots=True)
class Fault:
    """One documented error; `text` may hold %s for what is filled in."""

    code: int
    text: str
    status: int = BAD_REQUEST

    def error(self, *filled: str | int, retry_at_us: int = 0) -> ApiError:
        """Return the exception, with the blanks of the text filled."""
        return ApiError(self.code, self.text % filled if filled else self.text, self.status, retry_at_us)


# ---- 10xx: the server and the network --------------------------------------------------------------------------------

UNKNOWN: Final = Fault(-1000, "An unknown error occurred while processing the request.", INTERNAL)
DISCONNECTED: Final = Fault(-1001, "Internal error; unable to process your request. Please try again.", INTERNAL)
UNAUTHORIZED_ACTION: Final = Fault(-1002, "You are not authorized to execute this request.", UNAUTHORIZED)
TOO_MANY_QUEUED: Final = Fault(-1003, "Too many requests queued.", TOO_MANY)
TOO_MUCH_WEIGHT: Final = Fault(
    -1003,
    "Too much request weight used; current limit is %s request weight per %s. "
    "Please use WebSocket Streams for live updates to avoid polling the API.",
    TOO_MANY,
)
IP_BANNED: Final = Fault(
    -1003,
    "Way too much request weight used; IP banned until %s. "
    "Please use WebSocket Streams for live updates to avoid bans.",
    BANNED,
)
UNEXPECTED_RESPONSE: Final = Fault(
    -1006, "An unexpected response was received from the message bus. Execution status unknown.", INTERNAL
)
TIMED_OUT: Final = Fault(
    -1007,
    "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    TIMEOUT,
)
OVERLOADED: Final = Fault(
    -1008, "Server is currently overloaded with other requests. Please try again in a few minutes.", UNAVAILABLE
)
MESSAGE_TOO_LARGE: Final = Fault(-1013, "The request is rejected by the API. It is larger than %s bytes.", TOO_LARGE)
FILTER_FAILURE: Final = Fault(-1013, "Filter failure: %s")
UNSUPPORTED_COMBINATION: Final = Fault(-1014, "Unsupported order combination.")
TOO_MANY_ORDERS: Final = Fault(-1015, "Too many new orders; current limit is %s orders per %s.", TOO_MANY)
NO_LONGER_AVAILABLE: Final = Fault(-1016, "This service is no longer available.", GONE)
NOT_SUPPORTED: Final = Fault(-1020, "This operation is not supported.")
NO_SUCH_ROUTE: Final = Fault(-1020, "This operation is not supported.", NOT_FOUND)
NO_SUCH_METHOD: Final = Fault(-1020, "This operation is not supported.", METHOD_NOT_ALLOWED)
TIMESTAMP_TOO_OLD: Final = Fault(-1021, "Timestamp for this request is outside of the recvWindow.")
TIMESTAMP_AHEAD: Final = Fault(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
BAD_SIGNATURE: Final = Fault(-1022, "Signature for this request is not valid.")
TOO_MANY_CONNECTIONS: Final = Fault(-1034, "Too many concurrent connections; current limit is '%s'.", TOO_MANY)

# ---- 11xx: the request -----------------------------------------------------------------------------------------------

ILLEGAL_CHARACTERS: Final = Fault(-1100, "Illegal characters found in parameter '%s'; legal range is '%s'.")
ILLEGAL_REQUEST: Final = Fault(-1100, "Illegal characters found in a parameter.")
TOO_MANY_PARAMETERS: Final = Fault(-1101, "Too many parameters; expected '%s' and received '%s'.")
DUPLICATE_PARAMETER: Final = Fault(-1101, "Duplicate values for a parameter detected.")
MANDATORY: Final = Fault(-1102, "Mandatory parameter '%s' was not sent, was empty/null, or malformed.")
ONE_OF_TWO: Final = Fault(-1102, "Param '%s' or '%s' must be sent, but both were empty/null!")
TOO_GREAT: Final = Fault(-1102, "'%s' contains unexpected value. Cannot be greater than '%s'.")
UNKNOWN_PARAMETER: Final = Fault(-1103, "An unknown parameter was sent.")
UNREAD_PARAMETERS: Final = Fault(-1104, "Not all sent parameters were read; read '%s' parameter(s) but was sent '%s'.")
EMPTY_PARAMETER: Final = Fault(-1105, "Parameter '%s' was empty.")
NOT_REQUIRED: Final = Fault(-1106, "Parameter '%s' sent when not required.")
OVERFLOW: Final = Fault(-1108, "Parameter '%s' overflowed.")
BAD_PRECISION: Final = Fault(-1111, "Parameter '%s' has too much precision.")
NO_DEPTH: Final = Fault(-1112, "No orders on book for symbol.")
TIME_IN_FORCE_NOT_REQUIRED: Final = Fault(-1114, "TimeInForce parameter sent when not required.")
BAD_TIME_IN_FORCE: Final = Fault(-1115, "Invalid timeInForce.")
BAD_ORDER_TYPE: Final = Fault(-1116, "Invalid orderType.")
BAD_SIDE: Final = Fault(-1117, "Invalid side.")
EMPTY_CLIENT_ORDER_ID: Final = Fault(-1118, "New client order ID was empty.")
EMPTY_ORIGINAL_CLIENT_ORDER_ID: Final = Fault(-1119, "Original client order ID was empty.")
BAD_INTERVAL: Final = Fault(-1120, "Invalid interval.")
BAD_SYMBOL: Final = Fault(-1121, "Invalid symbol.")
BAD_SYMBOL_STATUS: Final = Fault(-1122, "Invalid symbolStatus.")
INTERVAL_TOO_LONG: Final = Fault(-1127, "More than %s hours between startTime and endTime.")
BAD_COMBINATION: Final = Fault(-1128, "Combination of optional parameters invalid.")
BAD_PARAMETER: Final = Fault(-1130, "Data sent for parameter '%s' is not valid.")
BAD_JSON: Final = Fault(-1135, "Invalid JSON Request")
BAD_JSON_PARAMETER: Final = Fault(-1135, "JSON sent for parameter '%s' is not valid")
BAD_TICKER_TYPE: Final = Fault(-1139, "Invalid ticker type.")
BAD_CANCEL_RESTRICTIONS: Final = Fault(
    -1145, "`cancelRestrictions` has to be either `ONLY_NEW` or `ONLY_PARTIALLY_FILLED`."
)
DUPLICATE_SYMBOL: Final = Fault(-1151, "Symbol is present multiple times in the list.")
BAD_TIME_UNIT: Final = Fault(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
STATUS_MISMATCH: Final = Fault(-1220, "The symbol's status does not match the requested symbolStatus.")

# ---- 20xx: orders and keys -------------------------------------------------------------------------------------------

NO_SUCH_ORDER: Final = Fault(-2013, "Order does not exist.")
NO_SUCH_LIST: Final = Fault(-2018, "Order list does not exist.")
BAD_API_KEY_FORMAT: Final = Fault(-2014, "API-key format invalid.", UNAUTHORIZED)
REJECTED_API_KEY: Final = Fault(-2015, "Invalid API-key, IP, or permissions for action.", UNAUTHORIZED)
NO_REFERENCE_PRICE: Final = Fault(-2043, "This symbol doesn't have a reference price.")
NO_TRADING_WINDOW: Final = Fault(-2016, "No trading window could be found for the symbol. Try ticker/24hrs instead.")
REPLACE_PARTIALLY_FAILED: Final = Fault(-2021, "Order cancel-replace partially failed.", 409)
REPLACE_FAILED: Final = Fault(-2022, "Order cancel-replace failed.")
ORDER_ARCHIVED: Final = Fault(
    -2026, "Order was canceled or expired with no executed qty over 90 days ago and has been archived."
)
ALREADY_SUBSCRIBED: Final = Fault(-2035, "User Data Stream subscription already active.")
NOT_SUBSCRIBED: Final = Fault(-2036, "User Data Stream subscription not active.")
CLIENT_ORDER_ID_MISMATCH: Final = Fault(-2039, "Client order ID is not correct for this order ID.")
SUBSCRIPTIONS_EXHAUSTED: Final = Fault(-2042, "Maximum subscription ID reached for this connection.")

NEW_ORDER_REJECTED: Final = -2010
CANCEL_REJECTED: Final = -2011
AMEND_REJECTED: Final = -2038

UNKNOWN_ORDER_TEXT: Final = "Unknown order sent."
_MARKET_CLOSED: Final = "Market is closed."
_NO_TRADING: Final = "This account may not place or cancel orders."

_BOTH: Final = {
    messages.UNKNOWN_MARKET: BAD_SYMBOL,
    messages.NOT_SUPPORTED: NOT_SUPPORTED,
    messages.ALREADY_PRUNED: UNEXPECTED_RESPONSE,
    messages.CLIENT_ID_MISMATCH: CLIENT_ORDER_ID_MISMATCH,
}
_PLACE: Final = _BOTH | {
    messages.UNKNOWN_ACCOUNT: Fault(NEW_ORDER_REJECTED, _NO_TRADING),
    messages.DUPLICATE_ORDER: Fault(NEW_ORDER_REJECTED, "Duplicate order sent."),
    messages.INSUFFICIENT_BALANCE: Fault(NEW_ORDER_REJECTED, "Account has insufficient balance for requested action."),
    messages.WOULD_MATCH: Fault(NEW_ORDER_REJECTED, "Order would immediately match and take."),
    messages.MARKET_CLOSED: Fault(NEW_ORDER_REJECTED, _MARKET_CLOSED),
    messages.NO_LIQUIDITY: Fault(NEW_ORDER_REJECTED, "Order book liquidity is less than symbol minimum quantity."),
    messages.BAD_PRICE: Fault(-1013, "Filter failure: PRICE_FILTER"),
    messages.BAD_QUANTITY: Fault(-1013, "Filter failure: LOT_SIZE"),
    messages.BAD_MARKET_QUANTITY: Fault(-1013, "Filter failure: MARKET_LOT_SIZE"),
    messages.BAD_NOTIONAL: Fault(-1013, "Filter failure: NOTIONAL"),
    messages.PRICE_BAND: Fault(-1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
    messages.TOO_MANY_ORDERS: Fault(-1013, "Filter failure: MAX_NUM_ORDERS"),
    messages.TOO_MANY_ALGO_ORDERS: Fault(-1013, "Filter failure: MAX_NUM_ALGO_ORDERS"),
    messages.TOO_MANY_ICEBERGS: Fault(-1013, "Filter failure: MAX_NUM_ICEBERG_ORDERS"),
    messages.TOO_MANY_LISTS: Fault(-1013, "Filter failure: MAX_NUM_ORDER_LISTS"),
    messages.BAD_ICEBERG: Fault(-1013, "Filter failure: ICEBERG_PARTS"),
    messages.BAD_TRAILING_DELTA: Fault(-1013, "Filter failure: TRAILING_DELTA"),
    messages.POSITION_LIMIT: Fault(-1013, "Filter failure: MAX_POSITION"),
    messages.WOULD_TRIGGER: Fault(NEW_ORDER_REJECTED, "Order would trigger immediately."),
    messages.BAD_RELATION: Fault(NEW_ORDER_REJECTED, "The relationship of the prices for the orders is not correct."),
}
_CANCEL: Final = _BOTH | {
    messages.UNKNOWN_ACCOUNT: Fault(CANCEL_REJECTED, _NO_TRADING),
    messages.UNKNOWN_ORDER: Fault(CANCEL_REJECTED, UNKNOWN_ORDER_TEXT),
    messages.UNKNOWN_LIST: Fault(CANCEL_REJECTED, UNKNOWN_ORDER_TEXT),
    messages.MARKET_CLOSED: Fault(CANCEL_REJECTED, _MARKET_CLOSED),
    messages.CANCEL_RESTRICTED: Fault(CANCEL_REJECTED, "Order was not canceled due to cancel restrictions."),
}


_AMEND: Final = _BOTH | {
    messages.UNKNOWN_ACCOUNT: Fault(AMEND_REJECTED, _NO_TRADING),
    messages.UNKNOWN_ORDER: Fault(AMEND_REJECTED, UNKNOWN_ORDER_TEXT),
    messages.MARKET_CLOSED: Fault(AMEND_REJECTED, _MARKET_CLOSED),
    messages.DUPLICATE_ORDER: Fault(AMEND_REJECTED, "Duplicate order sent."),
    messages.QUANTITY_INCREASE: Fault(AMEND_REJECTED, "Order amend (quantity increase) is not supported."),
    messages.BAD_QUANTITY: Fault(-1013, "Filter failure: LOT_SIZE"),
    messages.TOO_MANY_AMENDS: Fault(-1013, "Filter failure: MAX_NUM_ORDER_AMENDS"),
}
CODES: Final = sorted(
    {
        *(fault.code for fault in tuple(globals().values()) if isinstance(fault, Fault)),
        *(fault.code for table in (_PLACE, _CANCEL, _AMEND) for fault in table.values()),
    }
)
"""Every code that an answer can carry."""
REJECT_REASONS: Final = {
    messages.INSUFFICIENT_BALANCE: "INSUFFICIENT_BALANCES",
    messages.WOULD_TRIGGER: "STOP_PRICE_WOULD_TRIGGER_IMMEDIATELY",
    messages.WOULD_MATCH: "WOULD_MATCH_IMMEDIATELY",
    messages.BAD_RELATION: "OCO_BAD_PRICES",
}
"""How an execution report says why an order that waited for another was rejected."""


def place_refused(rejected: messages.Rejected) -> ApiError:
    """Return what the client hears when the engine refuses an order."""
    return _PLACE.get(rejected.reason, UNEXPECTED_RESPONSE).error()


def cancel_refused(rejected: messages.Rejected) -> ApiError:
    """Return what the client hears when the engine refuses a cancellation."""
    return _CANCEL.get(rejected.reason, UNEXPECTED_RESPONSE).error()


def amend_refused(rejected: messages.Rejected) -> ApiError:
    """Return what the client hears when the engine refuses to change an order."""
    return _AMEND.get(rejected.reason, UNEXPECTED_RESPONSE).error()
