"""The steps that ask the engine: is there such an account, take its orders off the books, is anything left in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from runtime.offboarding.clerk import UnknownStepError, outcome, pause_s
from runtime.offboarding.register import (
    CONFIRMED,
    EMPTY,
    FROZEN,
    SETTLING,
    STATED,
    Register,
)
from runtime.shared.messages import (
    FIRST_USER_ACCOUNT,
    MARKET_CLOSED,
    UNKNOWN_ORDER,
    AccountState,
    Answered,
    AskAccount,
    AskOpenOrders,
    CancelAll,
    Command,
    OpenOrders,
    OrdersCanceled,
    Question,
    Rejected,
    Reply,
)
from runtime.shared.request_table import StatusError

_STAYS: Final = frozenset({MARKET_CLOSED, UNKNOWN_ORDER})
"""A halted market keeps its orders until it opens; an order that is gone needs no cancellation."""
ALL_MARKETS: Final = -1


class EngineRefusedError(RuntimeError):
    """The engine gave an answer that no way of a closure leads to."""


class Engine(Protocol):
    """What the broker asks of the engine."""

    async def send(self, command: Command) -> Reply:
        """Return the reply to a command."""

    async def ask(self, question: Question) -> Answered:
        """Return the answer to a question, with the sequence it is true after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """What the steps work with."""

    register: Register
    engine: Engine
    assets: Mapping[int, str]
    days_max: int
    """So long a closure waits until nothing is left."""
    now_s: int

    async def do(self, step: str, name: str) -> dict[str, Any]:
        """Carry out a step; return its outcome. Raises EngineRefusedError, StatusError and as the stores."""
        match step:
            case "look":
                return outcome(await self.look(name))
            case "settle":
                return await self.settle(name)
            case "confirm":
                return await self.confirm(name)
        raise UnknownStepError(f"no step {step!r}")

    async def look(self, name: str) -> str:
        """Tell whether the account is one of a customer: `known` or `unknown`."""
        account = self.register.request(name)["account"]
        state = (await self.engine.ask(AskAccount(account))).answer
        return "known" if isinstance(state, AccountState) and account >= FIRST_USER_ACCOUNT else "unknown"

    async def settle(self, name: str) -> dict[str, Any]:
        """Cancel what is open, then look: `empty`, `waiting`, or `overdue` after so many days."""
        found = self.register.request(name)
        if found["status"] not in SETTLING:
            raise StatusError(f"request {name} is {found['status']}, not one of {', '.join(SETTLING)}")
        for market in sorted({order.market for order in await self._orders(found["account"])}):
            reply = await self.engine.send(CancelAll(found["account"], market))
            if not isinstance(reply, OrdersCanceled) and not (isinstance(reply, Rejected) and reply.reason in _STAYS):
                raise EngineRefusedError(f"CancelAll of market {market}: {reply}")
        return await self._looked(name, found)

    async def confirm(self, name: str) -> dict[str, Any]:
        """Look once more, now that the statement says there is nothing: whatever came meanwhile leads back."""
        looked = await self._looked(name, self.register.request(name))
        if looked["outcome"] != "empty":
            return looked
        found = self.register.request(name)
        if found["status"] == EMPTY:  # something came and went: the statement does not tell of it
            return outcome("waiting", pause_s(self.now_s - found["frozen_at_s"]))
        self.register.move(name, (STATED,), CONFIRMED)
        return looked

    async def _looked(self, name: str, found: Mapping[str, Any]) -> dict[str, Any]:
        orders = await self._orders(found["account"])
        answered = await self.engine.ask(AskAccount(found["account"]))
        state = answered.answer
        if not isinstance(state, AccountState):
            raise EngineRefusedError(f"account {found['account']} is gone: {state}")
        left = {each.asset: (each.free, each.held) for each in state.balances if each.free or each.held}
        if not orders and not left:
            # What has not moved since a statement was written needs no other one.
            if found.get("emptied_us") != state.updated_us or found["status"] == FROZEN:
                self.register.move(
                    name, SETTLING, EMPTY, sequence=answered.sequence, emptied_us=state.updated_us, free="{}"
                )
            return outcome("empty")
        free = {self.assets[asset]: amounts[0] for asset, amounts in left.items()}
        self.register.move(name, SETTLING, FROZEN, free=json.dumps(free, sort_keys=True))
        waited_s = self.now_s - found["frozen_at_s"]
        if waited_s > self.days_max * 24 * 3600:
            return outcome("overdue")
        return outcome("waiting", pause_s(waited_s))

    async def _orders(self, account: int) -> list[Any]:
        answer = (await self.engine.ask(AskOpenOrders(account, ALL_MARKETS))).answer
        if not isinstance(answer, OpenOrders):
            raise EngineRefusedError(f"open orders of account {account}: {answer}")
        return answer.orders
