"""What an account did, from the ledger's database, never older than what the account already knows.

The ledger follows the engine with a small delay. Each read first learns from the engine how far things have come, then
waits, briefly, until the ledger is there, too: a client always finds its own last order.
"""

from typing import Protocol

from runtime.gateway.engine import PromptEngine
from runtime.ledger.history import AccountTrade, Amendment, PreventedMatch
from runtime.shared.messages import AskAccount, AskOrder, OpenOrders, Order, OrderList


class Ledger(Protocol):
    """The part of `runtime.ledger.history.History` that the gateway uses."""

    async def wait_for(self, sequence: int) -> None:
        """Return once the ledger holds everything up to `sequence`."""

    async def order_by_id(self, account: int, market: int, order_id: int) -> Order | None:
        """Return one order."""

    async def order_by_client_id(self, account: int, market: int, client_order_id: str) -> Order | None:
        """Return the newest order with that client id."""

    async def all_orders(
        self,
        account: int,
        market: int,
        *,
        order_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[Order]:
        """Return orders, oldest first."""

    async def my_trades(
        self,
        account: int,
        market: int,
        *,
        from_id: int | None = None,
        order_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[AccountTrade]:
        """Return fills, oldest first."""

    async def list_by_id(self, account: int, list_id: int) -> OrderList | None:
        """Return one list."""

    async def list_by_client_id(self, account: int, client_list_id: str) -> OrderList | None:
        """Return the newest list with that client id."""

    async def all_lists(
        self,
        account: int,
        *,
        from_id: int | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        limit: int = 500,
    ) -> list[OrderList]:
        """Return lists, oldest first."""

    async def prevented_matches(
        self,
        account: int,
        market: int,
        *,
        match_id: int | None = None,
        order_id: int | None = None,
        from_id: int | None = None,
        limit: int = 500,
    ) -> list[PreventedMatch]:
        """Return self-trades that were prevented, oldest first."""

    async def order_amendments(
        self, account: int, market: int, order_id: int, *, since: tuple[int, int] = (0, 0), limit: int = 500
    ) -> list[Amendment]:
        """Return what was changed of one order, oldest first."""

    async def account_postings(self, account: int, limit: int) -> list[tuple[int, int, int, int, int]] | None:
        """Return all postings, oldest first; None when there are more than `limit`."""

    async def last_prices(self) -> dict[int, int]:
        """Return the price of each market's last trade in ticks."""


class AccountHistory:
    """Reads that see at least what the engine has told the account."""

    def __init__(self, engine: PromptEngine, ledger: Ledger) -> None:
        """Read from `ledger`, with `engine` as the measure."""
        self._engine = engine
        self._ledger = ledger

    async def order(self, account: int, market: int, order_id: int, client_order_id: str) -> Order | None:
        """Return an order by id, or if that is 0 by client id: as the engine has it while open, else from the ledger.

        Raises EngineError or HistoryUnavailableError.
        """
        answered = await self._engine.ask(AskOrder(account, market, order_id, client_order_id))
        if isinstance(answered.answer, OpenOrders) and answered.answer.orders:
            return answered.answer.orders[0]
        await self._ledger.wait_for(answered.sequence)
        if order_id:
            return await self._ledger.order_by_id(account, market, order_id)
        return await self._ledger.order_by_client_id(account, market, client_order_id)

    async def orders(
        self,
        account: int,
        market: int,
        *,
        order_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> list[Order]:
        """Return orders from `order_id` on, or of a time, else the newest. Raises as `order`."""
        await self._catch_up(account)
        return await self._ledger.all_orders(
            account, market, order_id=order_id, start_us=start_us, end_us=end_us, limit=limit
        )

    async def trades(
        self,
        account: int,
        market: int,
        *,
        from_id: int | None,
        order_id: int | None,
        start_us: int | None,
        end_us: int | None,
        limit: int,
    ) -> list[AccountTrade]:
        """Return fills from `from_id` on, of one order, or of a time, else the newest. Raises as `order`."""
        await self._catch_up(account)
        return await self._ledger.my_trades(
            account, market, from_id=from_id, order_id=order_id, start_us=start_us, end_us=end_us, limit=limit
        )

    async def order_list(self, account: int, list_id: int, client_list_id: str) -> OrderList | None:
        """Return a list by id, or if that is 0 by client id. Raises as `order`."""
        await self._catch_up(account)
        if list_id:
            return await self._ledger.list_by_id(account, list_id)
        return await self._ledger.list_by_client_id(account, client_list_id)

    async def order_lists(
        self, account: int, *, from_id: int | None, start_us: int | None, end_us: int | None, limit: int
    ) -> list[OrderList]:
        """Return lists from `from_id` on, or of a time, else the newest. Raises as `order`."""
        await self._catch_up(account)
        return await self._ledger.all_lists(account, from_id=from_id, start_us=start_us, end_us=end_us, limit=limit)

    async def prevented_matches(
        self, account: int, market: int, *, match_id: int | None, order_id: int | None, from_id: int | None, limit: int
    ) -> list[PreventedMatch]:
        """Return one self-trade that was prevented, those of an order, or those from an id on. Raises as `order`."""
        await self._catch_up(account)
        return await self._ledger.prevented_matches(
            account, market, match_id=match_id, order_id=order_id, from_id=from_id, limit=limit
        )

    async def order_amendments(
        self, account: int, market: int, order_id: int, *, since: tuple[int, int], limit: int
    ) -> list[Amendment]:
        """Return what was changed of an order, from the execution (sequence, event) on. Raises as `order`."""
        await self._catch_up(account)
        return await self._ledger.order_amendments(account, market, order_id, since=since, limit=limit)

    async def postings(self, account: int, limit: int) -> list[tuple[int, int, int, int, int]] | None:
        """Return all postings of the account, or None when there are more than `limit`. Raises as `order`."""
        await self._catch_up(account)
        return await self._ledger.account_postings(account, limit)

    async def last_prices(self) -> dict[int, int]:
        """Return the price of each market's last trade in ticks. Raises HistoryUnavailableError."""
        return await self._ledger.last_prices()

    async def _catch_up(self, account: int) -> None:
        answered = await self._engine.ask(AskAccount(account))
        await self._ledger.wait_for(answered.sequence)
