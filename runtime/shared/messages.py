"""What services say to each other: commands into the engine, replies and events out of it, questions, market data.

Everything is a frozen msgspec struct, encoded as a msgpack array with an integer tag: small, typed on arrival,
and one file to read. Prices are in ticks, quantities in lots, amounts in the smallest unit of their asset, times in
microseconds since 1970 (UTC). Tags and field order are a storage format, since the journal and the event log hold
these bytes: append fields with defaults, never reorder or reuse.
"""

from typing import Final

from msgspec import Struct
from msgspec.msgpack import Decoder, Encoder

# ---- vocabulary -------------------------------------------------------------------------------------------------

BUY: Final = 0
SELL: Final = 1

LIMIT: Final = 0
MARKET: Final = 1
LIMIT_MAKER: Final = 2

GTC: Final = 0
IOC: Final = 1
FOK: Final = 2

NEW: Final = 0
PARTIALLY_FILLED: Final = 1
FILLED: Final = 2
CANCELED: Final = 3
REJECTED: Final = 4
EXPIRED: Final = 5
EXPIRED_IN_MATCH: Final = 6

EXEC_NEW: Final = 0
EXEC_TRADE: Final = 1
EXEC_CANCELED: Final = 2
EXEC_EXPIRED: Final = 3
EXEC_TRADE_PREVENTION: Final = 4

STP_NONE: Final = 0
STP_EXPIRE_TAKER: Final = 1
STP_EXPIRE_MAKER: Final = 2
STP_EXPIRE_BOTH: Final = 3

TRADING: Final = 0
HALT: Final = 1
CANCEL_ONLY: Final = 2

CANCEL_ANY: Final = 0
CANCEL_ONLY_NEW: Final = 1
CANCEL_ONLY_PARTIALLY_FILLED: Final = 2

# Why an unfilled remainder expired.
NOT_EXPIRED: Final = 0
UNFILLED_IOC_QUANTITY_EXPIRED: Final = 1
UNFILLED_FOK_ORDER_EXPIRED: Final = 2
INSUFFICIENT_LIQUIDITY: Final = 3

# Why a command was refused. The gateway maps each to a documented code and text.
UNKNOWN_ACCOUNT: Final = 1
UNKNOWN_MARKET: Final = 2
UNKNOWN_ORDER: Final = 3
DUPLICATE_ORDER: Final = 4
INSUFFICIENT_BALANCE: Final = 5
WOULD_MATCH: Final = 6
MARKET_CLOSED: Final = 7
CANCEL_RESTRICTED: Final = 8
BAD_PRICE: Final = 9
BAD_QUANTITY: Final = 10
BAD_MARKET_QUANTITY: Final = 11
BAD_NOTIONAL: Final = 12
PRICE_BAND: Final = 13
TOO_MANY_ORDERS: Final = 14
NO_LIQUIDITY: Final = 15
UNKNOWN_ASSET: Final = 16
BAD_AMOUNT: Final = 17
DUPLICATE_TRANSFER: Final = 18
BAD_CATALOGUE: Final = 19
UNKNOWN_TIER: Final = 20
NOT_SUPPORTED: Final = 21
ALREADY_PRUNED: Final = 22
CLIENT_ID_MISMATCH: Final = 23
BAD_NAME: Final = 24
TOO_LATE: Final = 25
"""Sequenced after its sender had given it up."""

# Accounts of the house. Users start at FIRST_USER_ACCOUNT.
EXTERNAL_ACCOUNT: Final = 0
"""Counter-account of deposits and withdrawals: the only one that may be negative."""
FEE_ACCOUNT: Final = 1
ROUNDING_ACCOUNT: Final = 2
SUSPENSE_ACCOUNT: Final = 3
FIRST_USER_ACCOUNT: Final = 1000


class Message(Struct, frozen=True, array_like=True, gc=False):
    """Base of every message. Without garbage collection tracking: messages never form cycles."""


# ---- configuration that enters the sequenced state ---------------------------------------------------------------


class MarketSpec(Message):
    """A market in the engine's integers; see `catalogue.Market` for the meaning."""

    id: int
    base: int
    quote: int
    lot_units: int
    """Units of the base asset in one lot."""
    quote_units: int
    """Units of the quote asset in one lot at a price of one tick."""
    min_ticks: int
    max_ticks: int
    min_lots: int
    max_lots: int
    max_market_lots: int
    min_notional: int
    max_notional: int
    band_down_ppm: int
    band_up_ppm: int
    open_orders_max: int


class TierSpec(Message):
    """A fee tier in parts per million."""

    id: int
    maker_ppm: int
    taker_ppm: int
    open_orders_factor: int


# ---- commands: sequenced, journaled, answered ---------------------------------------------------------------------


class Configure(Message, tag=1):
    """Define or change assets, markets and tiers. Scales and assets of a known market cannot change."""

    assets: list[int]
    markets: list[MarketSpec]
    tiers: list[TierSpec]


class OpenAccount(Message, tag=2):
    """Open the account called `name`, or change its tier. Answer: AccountOpened, the same id for the same name."""

    name: str
    tier: int


class Deposit(Message, tag=3):
    """Credit `amount` units. `reference` is unique for ever: the second time it is refused as DUPLICATE_TRANSFER."""

    account: int
    asset: int
    amount: int
    reference: str


class PlaceOrder(Message, tag=4):
    """Place an order. `price` is 0 for MARKET; one of `lots` and `quote_amount` is 0 (the latter only for MARKET)."""

    account: int
    market: int
    side: int
    order_type: int
    time_in_force: int
    price: int
    lots: int
    quote_amount: int
    client_order_id: str
    stp: int = STP_EXPIRE_MAKER


class CancelOrder(Message, tag=5):
    """Cancel one open order by `order_id`, or if that is 0 by `client_order_id`."""

    account: int
    market: int
    order_id: int
    client_order_id: str
    cancel_id: str
    """The client's name for this cancellation; shown in its execution report."""
    restriction: int = CANCEL_ANY


class CancelAll(Message, tag=6):
    """Cancel every open order of the account in one market."""

    account: int
    market: int
    cancel_id: str = ""


class SetMarketStatus(Message, tag=7):
    """Set TRADING, HALT or CANCEL_ONLY."""

    market: int
    status: int


Command = Configure | OpenAccount | Deposit | PlaceOrder | CancelOrder | CancelAll | SetMarketStatus


# ---- replies to commands -------------------------------------------------------------------------------------------


class Order(Message):
    """An order as it stands."""

    order_id: int
    client_order_id: str
    account: int
    market: int
    side: int
    order_type: int
    time_in_force: int
    price: int
    lots: int
    quote_amount: int
    executed_lots: int
    executed_quote: int
    """Units of the quote asset spent or received so far, before fees."""
    status: int
    stp: int
    expiry: int
    created_us: int
    updated_us: int


class Fill(Message):
    """One execution of the order just placed. `fee` is in units of `fee_asset`."""

    trade_id: int
    price: int
    lots: int
    fee: int
    fee_asset: int


class Rejected(Message, tag=1):
    """The command changed nothing. `reason` is one of the refusals above; `detail` says more where there is more."""

    reason: int
    detail: str = ""


class Done(Message, tag=2):
    """Configure, Deposit or SetMarketStatus took effect."""


class AccountOpened(Message, tag=3):
    """The id of the account."""

    account: int


class OrderPlaced(Message, tag=4):
    """The order after matching, with the fills this command caused."""

    order: Order
    fills: list[Fill]


class OrdersCanceled(Message, tag=5):
    """The orders that were canceled, as they stand now."""

    orders: list[Order]


Reply = Rejected | Done | AccountOpened | OrderPlaced | OrdersCanceled


# ---- events: what happened, in order ----------------------------------------------------------------------------


class OrderChanged(Message, tag=1):
    """An order after one change; what an execution report is made of. Last-fill fields are 0 unless EXEC_TRADE."""

    execution: int
    order: Order
    trade_id: int = 0
    last_price: int = 0
    last_lots: int = 0
    fee: int = 0
    fee_asset: int = 0
    is_maker: bool = False
    cancel_id: str = ""


class Traded(Message, tag=2):
    """One match. Fees are in the asset received: base for the buyer, quote for the seller."""

    market: int
    trade_id: int
    price: int
    lots: int
    buyer_is_maker: bool
    buy_order_id: int
    sell_order_id: int
    buyer: int
    seller: int
    buyer_fee: int
    seller_fee: int


class LevelChanged(Message, tag=3):
    """A price level holds `lots` now (0: it is gone). `update_id` counts by one per market, without a gap."""

    market: int
    update_id: int
    side: int
    price: int
    lots: int


class BalanceChanged(Message, tag=4):
    """What the account holds of the asset after the command, in units."""

    account: int
    asset: int
    free: int
    held: int


class AccountChanged(Message, tag=5):
    """An account was opened or its tier changed."""

    account: int
    name: str
    tier: int


class Transferred(Message, tag=6):
    """`amount` units came in from outside (negative: went out)."""

    account: int
    asset: int
    amount: int
    reference: str


class MarketStatusChanged(Message, tag=7):
    """The market is TRADING, HALT or CANCEL_ONLY now."""

    market: int
    status: int


class Configured(Message, tag=8):
    """These assets, markets and tiers are in force now."""

    assets: list[int]
    markets: list[MarketSpec]
    tiers: list[TierSpec]


Event = (
    OrderChanged
    | Traded
    | LevelChanged
    | BalanceChanged
    | AccountChanged
    | Transferred
    | MarketStatusChanged
    | Configured
)


class Happened(Message):
    """All events of one sequenced command, in order. (sequence, index in `events`) names an event for ever."""

    sequence: int
    time_us: int
    events: list[Event]


# ---- questions: answered from durable state, never journaled ----------------------------------------------------


class AskAccount(Message, tag=1):
    """Balances of one account. Answer: AccountState, or Unknown."""

    account: int


class AskOrder(Message, tag=2):
    """One *open* order by id, or if that is 0 by client id. Answer: Order in OpenOrders, or an empty list."""

    account: int
    market: int
    order_id: int
    client_order_id: str


class AskOpenOrders(Message, tag=3):
    """Open orders of the account in one market, or in all for market -1, oldest first. Answer: OpenOrders."""

    account: int
    market: int


class AskMarket(Message, tag=4):
    """The whole book. Answer: MarketState, or Unknown."""

    market: int


class AskTotals(Message, tag=5):
    """Conservation check over every account. Answer: Totals."""


Question = AskAccount | AskOrder | AskOpenOrders | AskMarket | AskTotals


class Balance(Message):
    """Units of one asset."""

    asset: int
    free: int
    held: int


class Unknown(Message, tag=1):
    """There is no such account or market."""


class AccountState(Message, tag=2):
    """An account; `updated_us` is the time of its last balance change."""

    account: int
    name: str
    tier: int
    balances: list[Balance]
    updated_us: int


class OpenOrders(Message, tag=3):
    """Orders on the book."""

    orders: list[Order]


class MarketState(Message, tag=4):
    """A book by price levels, best first, each (price, lots), and the counters it belongs to."""

    market: int
    status: int
    update_id: int
    last_trade_id: int
    last_price: int
    bids: list[tuple[int, int]]
    asks: list[tuple[int, int]]


class Totals(Message, tag=5):
    """Per asset: (asset, free and held of users, of the house, of EXTERNAL_ACCOUNT); each row sums to zero."""

    rows: list[tuple[int, int, int, int]]
    accounts: int
    open_orders: int
    state_hash: str


Answer = Unknown | AccountState | OpenOrders | MarketState | Totals


# ---- the link to the engine: frames of msgpack --------------------------------------------------------------------
# Client: one Hello, then list[FromClient] on a COMMANDS link, nothing on a FEED link.
# Engine: list[FromEngine] that starts with Welcome (or Refused); then list[FromEngine], or on a FEED list[Happened].

UNKNOWN_SESSION: Final = "unknown session"
COMMANDS: Final = 0
FEED: Final = 1


class Hello(Message):
    """First frame from a client. COMMANDS: requests may follow. FEED: events from `sequence` on will come.

    A `session` names one life of one client process; its commands carry n = 1, 2, 3, … and are sent again under the
    same n after a reconnect. A feed from sequence 0 starts at the beginning of time, from -1 at the next command.
    """

    kind: int
    session: str
    sequence: int = -1


class Welcome(Message, tag=4):
    """First in the engine's first frame, on either kind of link.

    It leads `group` in `epoch`, and has applied everything up to `sequence`.
    """

    group: str
    epoch: int
    sequence: int


class Send(Message, tag=1):
    """A command. The client has received every reply up to number `acknowledged`."""

    n: int
    acknowledged: int
    command: Command
    expires_us: int = 0
    """When the client stops waiting; sequenced later it is refused as TOO_LATE. 0: never."""


class Ask(Message, tag=2):
    """A question. `id` is the client's own."""

    id: int
    question: Question


class Replied(Message, tag=1):
    """The reply to command `n`, durable at `sequence`, sequenced at `time_us`."""

    n: int
    sequence: int
    time_us: int
    reply: Reply


class Answered(Message, tag=2):
    """The answer to question `id`, true right after `sequence`."""

    id: int
    sequence: int
    answer: Answer


class Refused(Message, tag=3):
    """The engine takes nothing more from this link and says why; the connection is closed after it.

    UNKNOWN_SESSION: the engine has forgotten, or never knew, the commands before the number it was sent. The client
    must give up what is unanswered, whose status stays unknown, and go on under a new session.
    """

    reason: str


FromClient = Send | Ask
FromEngine = Replied | Answered | Refused | Welcome

encode: Final = Encoder().encode
decode_hello: Final = Decoder(Hello).decode
decode_from_client: Final = Decoder(list[FromClient]).decode
decode_from_engine: Final = Decoder(list[FromEngine]).decode
decode_feed: Final = Decoder(list[Happened]).decode
