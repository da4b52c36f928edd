"""Answers from the state as it stands, for gateways and operators; nothing here changes anything."""

from runtime.engine.replica import Replica
from runtime.shared.messages import (
    BUY,
    EXTERNAL_ACCOUNT,
    FIRST_USER_ACCOUNT,
    LIST_EXECUTING,
    SELL,
    AccountState,
    Answer,
    AskAccount,
    AskHold,
    AskLists,
    AskMarket,
    AskOpenOrders,
    AskOrder,
    Balance,
    MarketState,
    OpenLists,
    OpenOrders,
    Order,
    Question,
    Totals,
    Unknown,
)

ALL_MARKETS = -1


def answer(replica: Replica, question: Question) -> Answer:
    """Return the answer to `question` after the last command applied."""
    if isinstance(question, AskAccount):
        return _account(replica, question.account)
    if isinstance(question, AskOrder):
        return _order(replica, question)
    if isinstance(question, AskOpenOrders):
        return _open_orders(replica, question)
    if isinstance(question, AskMarket):
        return _market(replica, question.market)
    if isinstance(question, AskLists):
        return _lists(replica, question.account)
    if isinstance(question, AskHold):
        return replica.engine.holds.get(question.reference, Unknown())
    return _totals(replica)


def _account(replica: Replica, number: int) -> Answer:
    account = replica.engine.accounts.accounts.get(number)
    if account is None:
        return Unknown()
    held = [account.holdings[asset] for asset in sorted(account.holdings)]
    balances = [Balance(holding.asset, holding.free, holding.held) for holding in held]
    return AccountState(
        account.account,
        account.name,
        account.tier,
        balances,
        account.updated_us,
        account.trade_group,
        account.fee_asset,
    )


def _order(replica: Replica, question: AskOrder) -> Answer:
    account = replica.engine.accounts.accounts.get(question.account)
    market = replica.engine.markets.get(question.market)
    if account is None or market is None:
        return Unknown()
    order = account.open_order(question.market, question.order_id, question.client_order_id)
    if order is None:
        return OpenOrders([])
    return OpenOrders([order.view()])


def _open_orders(replica: Replica, question: AskOpenOrders) -> Answer:
    account = replica.engine.accounts.accounts.get(question.account)
    if account is None:
        return Unknown()
    wanted = account.open_orders if question.market == ALL_MARKETS else [question.market]
    orders: list[Order] = []
    for market in wanted:
        own = account.open_orders.get(market)
        orders += [order.view() for order in own.orders.values()] if own is not None else []
    return OpenOrders(sorted(orders, key=lambda order: order.order_id))


def _market(replica: Replica, number: int) -> Answer:
    market = replica.engine.markets.get(number)
    if market is None:
        return Unknown()
    return MarketState(
        number,
        market.status,
        market.update_id,
        market.last_trade_id,
        market.last_price,
        market.book.levels(BUY),
        market.book.levels(SELL),
        market.reference_price if market.is_fresh(replica.engine.time_us) else 0,
        market.until_us,
        market.reference_us,
    )


def _lists(replica: Replica, number: int) -> Answer:
    account = replica.engine.accounts.accounts.get(number)
    if account is None:
        return Unknown()
    placed = [replica.engine.lists[list_id] for list_id in account.lists.values()]
    return OpenLists([each.view(LIST_EXECUTING, each.created_us) for each in placed])


def _totals(replica: Replica) -> Totals:
    engine = replica.engine
    rows: list[tuple[int, int, int, int]] = []
    for asset in sorted(engine.assets):
        users = house = outside = 0
        for account in engine.accounts.accounts.values():
            holding = account.holdings.get(asset)
            amount = holding.free + holding.held if holding else 0
            if account.account == EXTERNAL_ACCOUNT:
                outside += amount
            elif account.account < FIRST_USER_ACCOUNT:
                house += amount
            else:
                users += amount
        rows.append((asset, users, house, outside))
    open_orders = sum(
        len(own.orders) for account in engine.accounts.accounts.values() for own in account.open_orders.values()
    )
    return Totals(rows, len(engine.accounts.accounts), open_orders, replica.state_hash())
