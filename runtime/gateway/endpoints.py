"""Everything a client can ask for, in one table: where it is reached, what it weighs, who may, what it takes."""

from collections.abc import Callable
from types import GenericAlias
from typing import Any, Final

from runtime.gateway import (
    answers_account,
    answers_market,
    answers_orders,
    answers_portfolio,
    answers_wallet,
    params,
    views,
)
from runtime.gateway.auth import READ, TRADE, WITHDRAW
from runtime.gateway.dispatch import NONE, Call, Exchange, Handler, Operation, Sending, not_supported
from runtime.gateway.errors import BAD_TICKER_TYPE, NO_LONGER_AVAILABLE, NOT_SUPPORTED
from runtime.gateway.orders import (
    AMEND,
    CANCEL,
    CANCEL_LIST,
    NEW_ORDER,
    ONE_LIST,
    ONE_ORDER,
    PLACE_OCO,
    PLACE_OTO,
    PLACE_OTOCO,
    REPLACE,
    SYMBOL,
    place_oco,
    place_oto,
    place_otoco,
)
from runtime.gateway.params import Parameter, Parameters, Values
from runtime.market_data import payloads

DEPTH_MAX: Final = 5_000
ROWS: Final = 500
ROWS_MAX: Final = 1_000
_DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1_000, 50), (DEPTH_MAX, 250))
_UTC: Final = {"0": "0", "0:00": "0", "00:00": "0", "+00:00": "0"}


def _depth_weight(values: Values) -> int:
    return next(weight for most, weight in _DEPTH_WEIGHTS if values["limit"] <= most)


def _day_weight(values: Values) -> int:
    if "symbol" in values:
        return 2
    count = len(values.get("symbols", ()))
    if not count:
        return 80
    return 2 if count <= 20 else 40 if count <= 100 else 80  # noqa: PLR2004 - the documented steps


def _windows_weight(values: Values) -> int:
    return min(200, 4 * len(values.get("symbols", "1")))


def _ticker_weight(values: Values) -> int:
    return 2 if "symbol" in values else 4


_LIMIT: Final = Parameter("limit", params.limit(ROWS_MAX), default=ROWS)
_FROM_ID: Final = Parameter("fromId", params.long)
_SPAN: Final = (Parameter("startTime", params.time_us), Parameter("endTime", params.time_us))
_STATUS: Final = Parameter("symbolStatus", answers_market.symbol_status)
_SYMBOLS: Final = (Parameter("symbol", params.symbol), Parameter("symbols", params.symbols))
_TIME_ZONE: Final = Parameter("timeZone", params.one_of(_UTC, NOT_SUPPORTED))
_TICKER_TYPE: Final = Parameter("type", params.one_of({"FULL": False, "MINI": True}, BAD_TICKER_TYPE))
_NETWORK: Final = Parameter("network", params.one_of(answers_wallet.CHAINS))
_WALLET_PAGE: Final = (
    *_SPAN,
    Parameter("offset", params.at_most(answers_wallet.OFFSET_MAX), default=0),
    Parameter("limit", params.limit(answers_wallet.ROWS_MAX), default=answers_wallet.ROWS_MAX),
)
_KLINES: Final = (
    SYMBOL,
    Parameter("interval", params.interval, is_mandatory=True),
    *_SPAN,
    _TIME_ZONE,
    _LIMIT,
)


def _public(
    path: str | None,
    ws: str | None,
    weight: int | Callable[[Values], int],
    handle: Handler,
    *declared: Parameter,
    answers: tuple[Any, ...],
) -> Operation:
    rest = ("GET", path) if path else None
    return Operation(rest=rest, ws=ws, weight=weight, parameters=Parameters(declared), handle=handle, answers=answers)


def _each(*types: Any) -> tuple[Any, ...]:  # noqa: ANN401 - types of answers
    """Return that one market is answered with one of `types`, several with an array of it."""
    return *types, *(GenericAlias(list, each) for each in types)


def _signed(
    rest: tuple[str, str] | None,
    ws: str | None,
    weight: int | Callable[[Values], int],
    security: str,
    handle: Handler,
    *declared: Parameter,
    answers: tuple[Any, ...],
) -> Operation:
    return Operation(
        rest=rest,
        ws=ws,
        weight=weight,
        security=security,
        parameters=Parameters(declared, is_signed=True),
        handle=handle,
        answers=answers,
    )


def _command(
    rest: tuple[str, str],
    ws: str,
    weight: int,
    send: Callable[[Exchange, Call], Sending],
    *declared: Parameter,
    answers: tuple[Any, ...],
) -> Operation:
    return Operation(
        rest=rest,
        ws=ws,
        weight=weight,
        security=TRADE,
        parameters=Parameters(declared, is_signed=True),
        send=send,
        answers=answers,
    )


OPERATIONS: Final = (
    # ---- the exchange
    _public("/api/v3/ping", "ping", 1, answers_market.ping, answers=(answers_market.Nothing,)),
    _public("/api/v3/time", "time", 1, answers_market.server_time, answers=(answers_market.ServerTime,)),
    _public(
        "/api/v3/exchangeInfo",
        "exchangeInfo",
        20,
        answers_market.exchange_info,
        *_SYMBOLS,
        Parameter("permissions", params.permissions),
        Parameter("showPermissionSets", params.flag, default=True),
        _STATUS,
        answers=(answers_market.ExchangeInfo,),
    ),
    # ---- market data
    _public(
        "/api/v3/depth",
        "depth",
        _depth_weight,
        answers_market.depth,
        SYMBOL,
        Parameter("limit", params.limit(DEPTH_MAX), default=100),
        _STATUS,
        answers=(payloads.DepthBody,),
    ),
    _public(
        "/api/v3/trades", "trades.recent", 25, answers_market.trades, SYMBOL, _LIMIT, answers=(list[payloads.TradeRow],)
    ),
    _public(
        "/api/v3/historicalTrades",
        "trades.historical",
        25,
        answers_market.trades,
        SYMBOL,
        _LIMIT,
        _FROM_ID,
        answers=(list[payloads.TradeRow],),
    ),
    _public(
        "/api/v3/aggTrades",
        "trades.aggregate",
        4,
        answers_market.aggregate_trades,
        SYMBOL,
        _FROM_ID,
        *_SPAN,
        _LIMIT,
        answers=(list[payloads.AggTradeRow],),
    ),
    _public("/api/v3/klines", "klines", 2, answers_market.klines, *_KLINES, answers=(list[payloads.KlineRow],)),
    _public("/api/v3/uiKlines", "uiKlines", 2, answers_market.klines, *_KLINES, answers=(list[payloads.KlineRow],)),
    _public("/api/v3/avgPrice", "avgPrice", 2, answers_market.average_price, SYMBOL, answers=(payloads.AveragePrice,)),
    _public(
        "/api/v3/ticker/24hr",
        "ticker.24hr",
        _day_weight,
        answers_market.ticker_day,
        *_SYMBOLS,
        _TICKER_TYPE,
        _STATUS,
        answers=_each(payloads.DayTicker, payloads.MiniTicker),
    ),
    _public(
        "/api/v3/ticker",
        "ticker",
        _windows_weight,
        answers_market.ticker_window,
        *_SYMBOLS,
        Parameter("windowSize", params.window, default=1_440),
        _TICKER_TYPE,
        _STATUS,
        answers=_each(payloads.WindowTicker, payloads.MiniTicker),
    ),
    _public(
        "/api/v3/ticker/tradingDay",
        "ticker.tradingDay",
        _windows_weight,
        answers_market.ticker_session,
        *_SYMBOLS,
        _TIME_ZONE,
        _TICKER_TYPE,
        _STATUS,
        answers=_each(payloads.WindowTicker, payloads.MiniTicker),
    ),
    _public(
        "/api/v3/ticker/price",
        "ticker.price",
        _ticker_weight,
        answers_market.ticker_price,
        *_SYMBOLS,
        _STATUS,
        answers=_each(payloads.PriceTicker),
    ),
    _public(
        "/api/v3/ticker/bookTicker",
        "ticker.book",
        _ticker_weight,
        answers_market.ticker_book,
        *_SYMBOLS,
        _STATUS,
        answers=_each(payloads.BookTicker),
    ),
    _public(
        "/api/v3/referencePrice",
        "referencePrice",
        2,
        answers_market.reference_price,
        SYMBOL,
        answers=(answers_market.ReferencePrice,),
    ),
    # ---- orders
    _command(
        ("POST", "/api/v3/order"),
        "order.place",
        1,
        answers_orders.place,
        *NEW_ORDER,
        answers=(views.PlacedAck, views.PlacedResult),
    ),
    _signed(
        ("POST", "/api/v3/order/test"),
        "order.test",
        lambda values: 20 if values["computeCommissionRates"] else 1,
        TRADE,
        answers_orders.test,
        *NEW_ORDER,
        Parameter("computeCommissionRates", params.flag, default=False),
        answers=(answers_market.Nothing, views.OrderCommission),
    ),
    _command(
        ("DELETE", "/api/v3/order"),
        "order.cancel",
        1,
        answers_orders.cancel,
        *CANCEL,
        answers=(views.CanceledView,),
    ),
    _command(
        ("DELETE", "/api/v3/openOrders"),
        "openOrders.cancelAll",
        1,
        answers_orders.cancel_all,
        SYMBOL,
        answers=(list[views.Canceled],),
    ),
    _command(
        ("POST", "/api/v3/order/cancelReplace"),
        "order.cancelReplace",
        1,
        answers_orders.replace,
        *REPLACE,
        answers=(answers_orders.Replaced,),
    ),
    _command(
        ("PUT", "/api/v3/order/amend/keepPriority"),
        "order.amend.keepPriority",
        4,
        answers_orders.amend,
        *AMEND,
        answers=(views.AmendmentView,),
    ),
    *(
        _command(
            ("POST", f"/api/v3/orderList/{kind}"),
            f"orderList.place.{kind}",
            1,
            answers_orders.place_list(read),
            *declared,
            answers=(views.OrderListView,),
        )
        for kind, read, declared in (
            ("oco", place_oco, PLACE_OCO),
            ("oto", place_oto, PLACE_OTO),
            ("otoco", place_otoco, PLACE_OTOCO),
        )
    ),
    _command(
        ("DELETE", "/api/v3/orderList"),
        "orderList.cancel",
        1,
        answers_orders.cancel_list,
        *CANCEL_LIST,
        answers=(views.OrderListView,),
    ),
    _signed(
        ("GET", "/api/v3/orderList"),
        "orderList.status",
        4,
        READ,
        answers_orders.list_status,
        *ONE_LIST,
        answers=(views.OrderListView,),
    ),
    _signed(
        ("GET", "/api/v3/allOrderList"),
        "allOrderLists",
        20,
        READ,
        answers_orders.all_lists,
        _FROM_ID,
        *_SPAN,
        _LIMIT,
        answers=(list[views.OrderListView],),
    ),
    _signed(
        ("GET", "/api/v3/openOrderList"),
        "openOrderLists.status",
        6,
        READ,
        answers_orders.open_lists,
        answers=(list[views.OrderListView],),
    ),
    _signed(
        ("GET", "/api/v3/myPreventedMatches"),
        "myPreventedMatches",
        lambda values: 2 if "preventedMatchId" in values else 20,
        READ,
        answers_orders.prevented_matches,
        SYMBOL,
        Parameter("preventedMatchId", params.long),
        Parameter("orderId", params.long),
        Parameter("fromPreventedMatchId", params.long),
        _LIMIT,
        answers=(list[views.PreventedMatchView],),
    ),
    _signed(
        ("GET", "/api/v3/order/amendments"),
        "order.amendments",
        4,
        READ,
        answers_orders.amendments,
        SYMBOL,
        Parameter("orderId", params.long, is_mandatory=True),
        Parameter("fromExecutionId", params.long),
        _LIMIT,
        answers=(list[views.AmendmentRow],),
    ),
    _signed(
        ("GET", "/api/v3/order"), "order.status", 4, READ, answers_orders.status, *ONE_ORDER, answers=(views.OrderView,)
    ),
    _signed(
        ("GET", "/api/v3/openOrders"),
        "openOrders.status",
        lambda values: 6 if "symbol" in values else 80,
        READ,
        answers_orders.open_orders,
        Parameter("symbol", params.symbol),
        answers=(list[views.OrderView],),
    ),
    _signed(
        ("GET", "/api/v3/allOrders"),
        "allOrders",
        20,
        READ,
        answers_orders.all_orders,
        SYMBOL,
        Parameter("orderId", params.long),
        *_SPAN,
        _LIMIT,
        answers=(list[views.OrderView],),
    ),
    _signed(
        ("GET", "/api/v3/myTrades"),
        "myTrades",
        lambda values: 5 if "orderId" in values else 20,
        READ,
        answers_orders.my_trades,
        SYMBOL,
        Parameter("orderId", params.long),
        *_SPAN,
        _FROM_ID,
        _LIMIT,
        answers=(list[views.AccountTradeView],),
    ),
    # ---- accounts
    _signed(
        ("GET", "/api/v3/account"),
        "account.status",
        20,
        READ,
        answers_account.account,
        Parameter("omitZeroBalances", params.flag, default=False),
        answers=(views.AccountView,),
    ),
    _signed(
        ("GET", "/api/v3/account/commission"),
        "account.commission",
        20,
        READ,
        answers_account.commission,
        SYMBOL,
        answers=(views.AccountCommission,),
    ),
    _signed(
        ("GET", "/api/v3/myFilters"),
        "myFilters",
        40,
        READ,
        answers_account.filters,
        SYMBOL,
        answers=(answers_account.AccountFilters,),
    ),
    _signed(
        ("GET", "/api/v3/myAllocations"),
        "myAllocations",
        20,
        READ,
        answers_orders.allocations,
        SYMBOL,
        *_SPAN,
        Parameter("fromAllocationId", params.long),
        Parameter("orderId", params.long),
        _LIMIT,
        answers=(list[answers_market.Nothing],),
    ),
    _signed(
        ("GET", "/api/v3/rateLimit/order"),
        "account.rateLimits.orders",
        40,
        READ,
        answers_account.order_counts,
        answers=(list[answers_account.OrderCount],),
    ),
    _signed(
        ("GET", "/sapi/v1/capital/config/getall"),
        None,
        10,
        READ,
        answers_account.coins,
        answers=(list[answers_account.Coin],),
    ),
    _signed(
        ("GET", "/sapi/v1/capital/deposit/address"),
        None,
        10,
        READ,
        answers_wallet.deposit_address,
        Parameter("coin", params.asset, is_mandatory=True),
        _NETWORK,
        answers=(answers_wallet.DepositAddress,),
    ),
    _signed(
        ("GET", "/sapi/v1/capital/deposit/hisrec"),
        None,
        1,
        READ,
        answers_wallet.deposits,
        Parameter("coin", params.asset),
        Parameter("status", params.at_most(8)),
        Parameter("txId", params.no_blanks(128)),
        *_WALLET_PAGE,
        answers=(list[answers_wallet.DepositRow],),
    ),
    _signed(
        ("GET", "/sapi/v1/capital/withdraw/history"),
        None,
        1,
        READ,
        answers_wallet.withdrawals,
        Parameter("coin", params.asset),
        Parameter("status", params.at_most(6)),
        Parameter("withdrawOrderId", params.client_id),
        *_WALLET_PAGE,
        answers=(list[answers_wallet.WithdrawalRow],),
    ),
    _signed(
        ("POST", "/sapi/v1/capital/withdraw/apply"),
        None,
        600,
        WITHDRAW,
        answers_wallet.withdraw,
        Parameter("coin", params.asset, is_mandatory=True),
        Parameter("address", params.no_blanks(128), is_mandatory=True),
        Parameter("amount", params.decimal, is_mandatory=True),
        Parameter("withdrawOrderId", params.client_id),
        _NETWORK,
        Parameter("name", params.printable(200)),
        Parameter("receiverPlace", params.printable(400)),
        Parameter("walletType", params.one_of({"0": True, "1": None})),
        Parameter("addressTag", params.not_built),
        Parameter("transactionFeeFlag", params.not_built),
        answers=(answers_wallet.WithdrawalId,),
    ),
    _signed(
        ("GET", "/sapi/v1/asset/tradeFee"),
        None,
        1,
        READ,
        answers_account.trade_fees,
        Parameter("symbol", params.symbol),
        answers=(list[answers_account.TradeFee],),
    ),
    _signed(
        ("GET", "/sapi/v1/portfolio/holdings"),
        None,
        200,
        READ,
        answers_portfolio.holdings,
        Parameter("currency", params.asset, is_mandatory=True),
        answers=(answers_portfolio.PortfolioView,),
    ),
    # Public here; clients sign it none the less.
    _signed(
        ("GET", "/sapi/v1/margin/allPairs"),
        None,
        1,
        NONE,
        answers_account.no_margin,
        answers=(list[answers_market.Nothing],),
    ),
    _signed(
        ("GET", "/sapi/v1/margin/isolated/allPairs"),
        None,
        1,
        NONE,
        answers_account.no_margin,
        answers=(list[answers_market.Nothing],),
    ),
)


async def _retired(_exchange: Exchange, _call: Call) -> bytes:
    raise NO_LONGER_AVAILABLE.error()


_ANYTHING: Final = Parameters(takes_others=True)
"""What is refused anyway needs no better reason."""


def _refused(handle: Handler, rest: tuple[str, str] | None, ws: str | None) -> Operation:
    return Operation(rest=rest, ws=ws, weight=1, parameters=_ANYTHING, handle=handle)


_NOT_BUILT_ROUTES: Final = (
    ("POST", "/api/v3/order/oco"),
    *(("POST", f"/api/v3/orderList/{kind}") for kind in ("opo", "opoco")),
    ("POST", "/api/v3/sor/order"),
    ("POST", "/api/v3/sor/order/test"),
    ("GET", "/api/v3/executionRules"),
    ("GET", "/api/v3/referencePrice/calculation"),
)
_NOT_BUILT_METHODS: Final = (
    *("sor.order.place", "sor.order.test"),
    *("orderList.place", "orderList.place.opo", "orderList.place.opoco"),
    *("executionRules", "referencePrice.calculation", "blockTrades.historical"),
)
REFUSED: Final = (
    *(_refused(not_supported, route, None) for route in _NOT_BUILT_ROUTES),
    *(_refused(not_supported, None, method) for method in _NOT_BUILT_METHODS),
    *(_refused(_retired, (method, "/api/v3/userDataStream"), None) for method in ("POST", "PUT", "DELETE")),
    *(_refused(_retired, None, f"userDataStream.{verb}") for verb in ("start", "ping", "stop")),
)
"""What is documented but not built, and what is no longer there."""

ROUTES: Final[dict[str, dict[str, Operation]]] = {}
"""Operations by path, then HTTP method."""
METHODS: Final[dict[str, Operation]] = {}
"""Operations by method of the WebSocket API."""

for _operation in (*OPERATIONS, *REFUSED):
    if _operation.rest:
        ROUTES.setdefault(_operation.rest[1], {})[_operation.rest[0]] = _operation
    if _operation.ws:
        METHODS[_operation.ws] = _operation
