"""Conservation: for every asset all accounts together hold nothing, and what is held is what something holds."""

from runtime.engine.engine import Engine
from runtime.engine.market import Market
from runtime.shared.messages import BUY, EXTERNAL_ACCOUNT, PENDING_NEW


class ConservationError(RuntimeError):
    """Money appeared, vanished, or is held for nothing. The state must not be kept: a person must look."""


def check_conservation(engine: Engine) -> None:
    """Raise ConservationError, naming account and asset, for the first figure that cannot be right."""
    sums: dict[int, int] = dict.fromkeys(engine.assets, 0)
    held = _held(engine)
    for account in engine.accounts.accounts.values():
        for asset, holding in account.holdings.items():
            where = f"after sequence {engine.sequence}: account {account.account}, asset {asset}"
            if account.account != EXTERNAL_ACCOUNT and holding.free < 0:
                raise ConservationError(f"{where}: {holding.free} units free")
            expected = held.pop((account.account, asset), 0)
            if holding.held != expected:
                raise ConservationError(f"{where}: {holding.held} units held, orders and withdrawals need {expected}")
            sums[asset] = sums.get(asset, 0) + holding.free + holding.held
    for (number, asset), amount in held.items():
        raise ConservationError(f"account {number} has nothing of asset {asset}, orders need {amount} units of it")
    for asset, total in sums.items():
        if total:
            raise ConservationError(f"after sequence {engine.sequence}: asset {asset} sums to {total}, not to 0")


def _held(engine: Engine) -> dict[tuple[int, int], int]:
    """Return what open orders and withdrawals must hold, by account and asset."""
    held: dict[tuple[int, int], int] = {}
    paired = {id(order) for placed in engine.lists.values() if placed.hold for order in placed.orders[-2:]}
    for account in engine.accounts.accounts.values():
        for number, own in account.open_orders.items():
            market = engine.markets[number]
            for order in own.orders.values():
                if order.status != PENDING_NEW and id(order) not in paired:
                    key = account.account, _given(market, order.side)
                    held[key] = held.get(key, 0) + engine.needed(order, market)
    for placed in engine.lists.values():
        if placed.hold:
            key = placed.account, _given(engine.markets[placed.market], placed.orders[-1].side)
            held[key] = held.get(key, 0) + placed.hold
    for hold in engine.holds.values():
        held[hold.account, hold.asset] = held.get((hold.account, hold.asset), 0) + hold.amount
    return held


def _given(market: Market, side: int) -> int:
    return market.spec.quote if side == BUY else market.spec.base
