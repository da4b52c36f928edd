"""What services say to each other: commands into the engine, replies and events out of it, questions, market data.

Everything is a frozen msgspec struct, encoded as a msgpack array with an integer tag: small, typed on arrival,
and one file to read. Prices are in ticks, quantities in lots, amounts in the smallest unit of their asset, times in
microseconds since 1970 (UTC). Tags and field order are a storage format, since the journal and the event log hold
these bytes: append fields with defaults, never reorder or reuse.
"""

from typing import Annotated, Final

from msgspec import Meta, Struct, field
from msgspec.msgpack import Decoder, Encoder

# ---- vocabulary -------------------------------------------------------------------------------------------------

BUY: Final = 0
SELL: Final = 1

LIMIT: Final = 0
MARKET: Final = 1
LIMIT_MAKER: Final = 2
STOP_LOSS: Final = 3
STOP_LOSS_LIMIT: Final = 4
TAKE_PROFIT: Final = 5
TAKE_PROFIT_LIMIT: Final = 6

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
PENDING_NEW: Final = 7
"""Waits, without funds, for the working order of its list to be filled."""

EXEC_NEW: Final = 0
EXEC_TRADE: Final = 1
EXEC_CANCELED: Final = 2
EXEC_EXPIRED: Final = 3
EXEC_TRADE_PREVENTION: Final = 4
EXEC_REPLACED: Final = 5
EXEC_REJECTED: Final = 6

STP_NONE: Final = 0
STP_EXPIRE_TAKER: Final = 1
STP_EXPIRE_MAKER: Final = 2
STP_EXPIRE_BOTH: Final = 3
STP_DECREMENT: Final = 4
STP_TRANSFER: Final = 5

TRADING: Final = 0
HALT: Final = 1
CANCEL_ONLY: Final = 2
AUCTION: Final = 3
"""Orders gather without matching, until they match all at one price."""
ALL_MARKETS: Final = -1

OCO: Final = 0
OTO: Final = 1
OTOCO: Final = 2

LIST_EXECUTING: Final = 0
LIST_ALL_DONE: Final = 1
LIST_REJECTED: Final = 2
LIST_STARTED: Final = 0
LIST_UPDATED: Final = 1
LIST_ENDED: Final = 2

STOP_ON_FAILURE: Final = 0
ALLOW_FAILURE: Final = 1

HELD: Final = 0
SETTLED: Final = 1
RELEASED: Final = 2
"""What became of funds held for a withdrawal."""

NO_GROUP: Final = -1
FEE_FROM_RECEIVED: Final = -1
"""An account pays its fees out of what a trade brings it, unless it chose an asset to pay them in."""
KEEP: Final = -2
"""Leaves an option of an account as it is."""

RULES_1: Final = 1
RULES_2: Final = 2
"""Adds triggers, icebergs, lists, all modes of self-trade prevention, reference prices and auctions."""
RULES_NEWEST: Final = RULES_2

CANCEL_ANY: Final = 0
CANCEL_ONLY_NEW: Final = 1
CANCEL_ONLY_PARTIALLY_FILLED: Final = 2

# Why an unfilled remainder expired.
NOT_EXPIRED: Final = 0
UNFILLED_IOC_QUANTITY_EXPIRED: Final = 1
UNFILLED_FOK_ORDER_EXPIRED: Final = 2
INSUFFICIENT_LIQUIDITY: Final = 3
UNFUNDED: Final = 4
"""Triggered when its account could not pay what it cost."""

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
WOULD_TRIGGER: Final = 26
BAD_TRAILING_DELTA: Final = 27
BAD_ICEBERG: Final = 28
TOO_MANY_ALGO_ORDERS: Final = 29
TOO_MANY_ICEBERGS: Final = 30
TOO_MANY_LISTS: Final = 31
TOO_MANY_AMENDS: Final = 32
POSITION_LIMIT: Final = 33
BAD_RELATION: Final = 34
"""The prices of the orders of a list do not stand in the order they must."""
QUANTITY_INCREASE: Final = 35
UNKNOWN_HOLD: Final = 36
UNKNOWN_LIST: Final = 37

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
    algo_orders_max: int = 0
    """Orders of an account that wait for a trigger; 0: none may."""
    iceberg_parts_max: int = 0
    """Parts that an iceberg order may show itself in; 0: there are no icebergs."""
    iceberg_orders_max: int = 0
    lists_max: int = 0
    amends_max: int = 0
    """How often one order may be amended."""
    max_position: int = 0
    """Units of the base asset that an account may have and be buying; 0: no bound."""
    trailing_min: int = 0
    trailing_max: int = 0
    """Bounds of a trailing delta, in basis points; 0: there are no trailing stops."""
    reference_age_us: int = 0
    """How long a reference price holds; an older one is stale."""
    interruption_ppm: int = 0
    """How far prices may move within the window before trading is interrupted by an auction; 0: as far as they like."""
    interruption_window_us: int = 0
    auction_us: int = 0
    """How long a call auction gathers orders."""


class TierSpec(Message):
    """A fee tier in parts per million."""

    id: int
    maker_ppm: int
    taker_ppm: int
    open_orders_factor: int


# ---- commands: sequenced, journaled, answered ---------------------------------------------------------------------

Text = Annotated[str, Meta(max_length=256)]
"""A text that may enter the journal; the rules of the engine are narrower."""


class Configure(Message, tag=1):
    """Define or change assets, markets and tiers. Scales and assets of a known market cannot change.

    `rules` is the version of the matching rules from here on: code that knows newer ones replays older journals as
    they were played. It never goes back.
    """

    assets: list[int]
    markets: list[MarketSpec]
    tiers: list[TierSpec]
    rules: int = RULES_1


class OpenAccount(Message, tag=2):
    """Open the account called `name`, or change its tier. Answer: AccountOpened, the same id for the same name."""

    name: Text
    tier: int


class Deposit(Message, tag=3):
    """Credit `amount` units. `reference` is unique for ever: the second time it is refused as DUPLICATE_TRANSFER."""

    account: int
    asset: int
    amount: int
    reference: Text


class PlaceOrder(Message, tag=4):
    """Place an order. `price` is 0 for MARKET, STOP_LOSS and TAKE_PROFIT.

    One of `lots` and `quote_amount` is 0 (the latter only for MARKET). An order with a trigger has a `stop_price`, a
    `trailing_delta` in basis points, or both: then it trails from when the stop price is reached.
    """

    account: int
    market: int
    side: int
    order_type: int
    time_in_force: int
    price: int
    lots: int
    quote_amount: int
    client_order_id: Text
    stp: int = STP_EXPIRE_MAKER
    stop_price: int = 0
    trailing_delta: int = 0
    iceberg_lots: int = 0
    """How many lots the book shows at a time; 0: all."""


class CancelOrder(Message, tag=5):
    """Cancel one open order by `order_id`, or if that is 0 by `client_order_id`; with it the list it belongs to."""

    account: int
    market: int
    order_id: int
    client_order_id: Text
    cancel_id: Text
    """The client's name for this cancellation; shown in its execution report."""
    restriction: int = CANCEL_ANY


class CancelAll(Message, tag=6):
    """Cancel every open order of the account in one market."""

    account: int
    market: int
    cancel_id: Text = ""


class SetMarketStatus(Message, tag=7):
    """Set TRADING, HALT, CANCEL_ONLY or AUCTION, of one market or of ALL_MARKETS.

    An auction that is open is ended without a match by any other status, and with one when its time has come.
    """

    market: int
    status: int


class SetAccountOptions(Message, tag=8):
    """Set the trade group of an account (NO_GROUP: none) and the asset it pays fees in; KEEP leaves either alone.

    The accounts of one group count as one owner in self-trade prevention. Fees are paid in `fee_asset` where a market
    trades that asset and as much of it is free, else out of what the trade brings.
    """

    account: int
    trade_group: int = KEEP
    fee_asset: int = KEEP


class HoldFunds(Message, tag=9):
    """Set `amount` units aside for a withdrawal. `reference` is unique for ever, among deposits too."""

    account: int
    asset: int
    amount: int
    reference: Text


class SettleHold(Message, tag=10):
    """The withdrawal has left: `fee` units of what was held go to the house, the rest to the outside."""

    reference: Text
    fee: int = 0


class ReleaseHold(Message, tag=11):
    """The withdrawal will not happen: free what was held."""

    reference: Text


class SetReferencePrice(Message, tag=12):
    """The price in ticks that others pay. It bounds orders until it is stale; 0 takes it away."""

    market: int
    price: int


class AmendOrder(Message, tag=13):
    """Make an open order smaller; it keeps its place in the queue. `lots` is its new whole quantity."""

    account: int
    market: int
    order_id: int
    client_order_id: Text
    lots: int
    new_client_order_id: Text = ""
    """Nothing: the order keeps its name."""


class ReplaceOrder(Message, tag=14):
    """Cancel one order and place another, in one step; STOP_ON_FAILURE places nothing unless the first was canceled."""

    cancel: CancelOrder
    place: PlaceOrder
    mode: int


class PlaceList(Message, tag=15):
    """Place orders that belong together.

    OCO: two of one side and quantity, the one above first; when one executes the other expires. OTO: a working order
    and one that is placed once the first is filled. OTOCO: a working order and an OCO placed once it is filled.
    """

    account: int
    market: int
    kind: int
    client_list_id: Text
    orders: list[PlaceOrder]


class CancelList(Message, tag=16):
    """Cancel every order of an open list, by `list_id`, or if that is 0 by `client_list_id`."""

    account: int
    market: int
    list_id: int
    client_list_id: Text
    cancel_id: Text = ""


class PassTime(Message, tag=17):
    """Nothing but the time of its batch. A leader sends it when an auction's time has come and nobody else sends."""


Command = (
    Configure
    | OpenAccount
    | Deposit
    | PlaceOrder
    | CancelOrder
    | CancelAll
    | SetMarketStatus
    | SetAccountOptions
    | HoldFunds
    | SettleHold
    | ReleaseHold
    | SetReferencePrice
    | AmendOrder
    | ReplaceOrder
    | PlaceList
    | CancelList
    | PassTime
)


class Entry(Message):
    """A sequenced command as the journal holds it: who sent it under which number, and what was acknowledged."""

    session: str
    n: int
    acknowledged: int
    command: Command
    expires_us: int = 0


# ---- replies to commands -------------------------------------------------------------------------------------------


class OrderTerms(Message):
    """What only some orders have."""

    stop_price: int = 0
    trailing_delta: int = 0
    iceberg_lots: int = 0
    list_id: int = 0
    """0: it belongs to no list."""
    working_us: int = 0
    """Since when it may match; 0 while it waits for a trigger or for another order."""
    trailing_us: int = 0
    """Since when its trigger follows the price."""
    prevented_lots: int = 0
    """Lots taken off by self-trade prevention."""
    prevented_match_id: int = 0
    """The last self-trade that was prevented."""
    amends: int = 0
    hold_price: int = 0
    """At which price a buy without a limit holds funds until its trigger is reached."""


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
    terms: OrderTerms | None = None


class OrderList(Message):
    """A list of orders as it stands. `orders` are (order id, client id), as they were placed."""

    list_id: int
    account: int
    market: int
    kind: int
    client_list_id: str
    status: int
    orders: list[tuple[int, str]]
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
    """The command took effect; there is nothing more to tell."""


class AccountOpened(Message, tag=3):
    """The id of the account."""

    account: int


class OrderPlaced(Message, tag=4):
    """The order after matching, with the fills this command caused."""

    order: Order
    fills: list[Fill]


class OrdersCanceled(Message, tag=5):
    """The orders that were canceled, as they stand now, the one that was named first; and the lists they made up."""

    orders: list[Order]
    lists: list[OrderList] = field(default_factory=list)


class OrderAmended(Message, tag=6):
    """The order after the change, and the name it had before."""

    order: Order
    old_client_order_id: str


class OrderReplaced(Message, tag=7):
    """What became of the cancellation and of the new order; None: it was not tried."""

    canceled: OrdersCanceled | Rejected
    placed: OrderPlaced | Rejected | None


class ListPlaced(Message, tag=8):
    """The list and its orders, as this command left them."""

    order_list: OrderList
    orders: list[OrderPlaced]


Reply = Rejected | Done | AccountOpened | OrderPlaced | OrdersCanceled | OrderAmended | OrderReplaced | ListPlaced


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
    """The client's name of what changed the order: a cancellation, or the name it had before it was amended."""
    reason: int = 0
    """Of EXEC_REJECTED: the refusal."""


class Traded(Message, tag=2):
    """One match. A negative fee is a rebate. Fee assets below 0: base for the buyer, quote for the seller."""

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
    buyer_fee_asset: int = FEE_FROM_RECEIVED
    seller_fee_asset: int = FEE_FROM_RECEIVED


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
    """The market is TRADING, HALT, CANCEL_ONLY or in an AUCTION now; an auction ends at `until_us`."""

    market: int
    status: int
    until_us: int = 0


class Configured(Message, tag=8):
    """These assets, markets and tiers are in force now."""

    assets: list[int]
    markets: list[MarketSpec]
    tiers: list[TierSpec]
    rules: int = RULES_1


class SelfTradePrevented(Message, tag=9):
    """Two orders of one owner met at `price`. `taker_lots` and `maker_lots` were taken off them without a trade.

    `transferred` lots of them changed hands between accounts of one group, at that price and without fees.
    """

    market: int
    match_id: int
    taker_order_id: int
    maker_order_id: int
    taker: int
    maker: int
    trade_group: int
    mode: int
    price: int
    taker_lots: int
    maker_lots: int
    transferred: int
    taker_side: int


class ListChanged(Message, tag=10):
    """A list of orders after one change: LIST_STARTED, LIST_UPDATED or LIST_ENDED."""

    change: int
    order_list: OrderList


class HoldChanged(Message, tag=11):
    """Funds for a withdrawal are HELD, or were SETTLED or RELEASED; a settlement is a Transferred besides."""

    account: int
    asset: int
    amount: int
    reference: str
    state: int


class FeeCharged(Message, tag=12):
    """The house took `fee` units for a withdrawal."""

    account: int
    asset: int
    fee: int
    reference: str


class ReferencePriceChanged(Message, tag=13):
    """The reference price of a market, in ticks; 0: there is none."""

    market: int
    price: int


class AccountOptionsChanged(Message, tag=14):
    """The options of an account."""

    account: int
    trade_group: int
    fee_asset: int


Event = (
    OrderChanged
    | Traded
    | LevelChanged
    | BalanceChanged
    | AccountChanged
    | Transferred
    | MarketStatusChanged
    | Configured
    | SelfTradePrevented
    | ListChanged
    | HoldChanged
    | FeeCharged
    | ReferencePriceChanged
    | AccountOptionsChanged
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


class AskLists(Message, tag=6):
    """Open lists of the account, oldest first. Answer: OpenLists."""

    account: int


class AskHold(Message, tag=7):
    """Funds held under `reference`. Answer: HoldState, or Unknown when they are not held, or no longer."""

    reference: str


Question = AskAccount | AskOrder | AskOpenOrders | AskMarket | AskTotals | AskLists | AskHold


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
    trade_group: int = NO_GROUP
    fee_asset: int = FEE_FROM_RECEIVED


class OpenOrders(Message, tag=3):
    """Orders on the book, and those that wait for a trigger or for another order."""

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
    reference_price: int = 0
    """0 when there is none, or it is stale."""
    until_us: int = 0
    """When the auction ends; 0 outside of one."""
    reference_us: int = 0


class Totals(Message, tag=5):
    """Per asset: (asset, free and held of users, of the house, of EXTERNAL_ACCOUNT); each row sums to zero."""

    rows: list[tuple[int, int, int, int]]
    accounts: int
    open_orders: int
    state_hash: str


class OpenLists(Message, tag=6):
    """Lists that are not done."""

    lists: list[OrderList]


class HoldState(Message, tag=7):
    """Funds held for a withdrawal, in units."""

    account: int
    asset: int
    amount: int
    reference: str


Answer = Unknown | AccountState | OpenOrders | MarketState | Totals | OpenLists | HoldState


# ---- the link to the engine: frames of msgpack --------------------------------------------------------------------
# Client: one Hello, then list[FromClient] on a COMMANDS link, nothing on a FEED link.
# Engine: list[FromEngine] that starts with Welcome (or Refused); then list[FromEngine], or on a FEED list[Happened].

UNKNOWN_SESSION: Final = "unknown session"
NOT_LEADER: Final = "not the leader"
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
    NOT_LEADER: another process of the group leads, or will soon. The client tries the group's other addresses.
    """

    reason: str


FromClient = Send | Ask
FromEngine = Replied | Answered | Refused | Welcome

encode: Final = Encoder().encode
decode_hello: Final = Decoder(Hello).decode
decode_from_client: Final = Decoder(list[FromClient]).decode
decode_from_engine: Final = Decoder(list[FromEngine]).decode
decode_feed: Final = Decoder(list[Happened]).decode
