"""The three steps that move money, in the engine: hold, settle, release. They believe the register alone."""

import json
from dataclasses import dataclass
from typing import Any, Final, Protocol

from runtime.shared.messages import (
    BAD_AMOUNT,
    DUPLICATE_TRANSFER,
    INSUFFICIENT_BALANCE,
    UNKNOWN_ACCOUNT,
    UNKNOWN_HOLD,
    Answer,
    AskHold,
    Command,
    Done,
    HoldFunds,
    HoldState,
    Question,
    Rejected,
    ReleaseHold,
    Reply,
    SettleHold,
)
from runtime.shared.request_table import StatusError
from runtime.withdrawals.approvals import valid
from runtime.withdrawals.register import DECLINED, FAILED, FINAL, HELD, PREPARED, RELEASED, SETTLED, Register
from runtime.withdrawals.rules import Reason

_REFUSALS: Final = {
    INSUFFICIENT_BALANCE: Reason("insufficient-balance", "the account has not got as much free"),
    UNKNOWN_ACCOUNT: Reason("unknown-account", "there is no such account"),
    BAD_AMOUNT: Reason("bad-amount", "the amount cannot be held"),
}


class NotApprovedError(RuntimeError):
    """Too few approvals count now; no funds are held, whatever the caller says."""


class EngineRefusedError(RuntimeError):
    """The engine gave an answer that no way of a withdrawal leads to."""


class Engine(Protocol):
    """What the teller asks of the engine."""

    async def send(self, command: Command) -> Reply:
        """Return the reply to a command."""

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """What the steps work with."""

    register: Register
    engine: Engine
    assets: dict[str, int]
    now_s: int

    async def do(self, step: str, name: str) -> str:
        """Carry out a step; return its outcome. Raises EngineRefusedError, NotApprovedError and as the stores."""
        match step:
            case "hold":
                return await self.hold(name)
            case "settle":
                return await self.settle(name)
            case "release":
                return await self.release(name)
        raise ValueError(f"no step {step!r}")

    async def hold(self, name: str) -> str:
        """Set the amount aside: `held`, or `refused` when there is not as much. Twice holds once."""
        found = self.register.withdrawal(name)
        if found["status"] == HELD:
            return "held"
        self._must_be(found, PREPARED)
        if (count := len(valid(found, self.now_s))) < found["approvals_needed"]:
            raise NotApprovedError(f"{found['approvals_needed']} approvals are needed, {count} count")
        wanted = HoldFunds(found["account"], self.assets[found["asset"]], found["amount"], reference(name))
        reply = await self.engine.send(wanted)
        if isinstance(reply, Rejected) and reply.reason == DUPLICATE_TRANSFER:
            state = await self.engine.ask(AskHold(reference(name)))
            held = HoldState(wanted.account, wanted.asset, wanted.amount, wanted.reference)
            if state != held:
                raise EngineRefusedError(f"reference {reference(name)} was used, and not for this")
        elif isinstance(reply, Rejected):
            reason = _REFUSALS.get(reply.reason)
            if reason is None:
                raise EngineRefusedError(f"hold: reason {reply.reason} {reply.detail}")
            self.register.move(name, (PREPARED,), PREPARED, noted=json.dumps([reason]))
            return "refused"
        self.register.move(name, (PREPARED,), HELD)
        return "held"

    async def settle(self, name: str) -> str:
        """Take what was held out of the account, once the transaction is final on its chain."""
        found = self.register.withdrawal(name)
        if found["status"] != SETTLED:
            self._must_be(found, FINAL)
            await self._ended(SettleHold(reference(name), found["fee"]))
            self.register.move(name, (FINAL,), SETTLED)
        return "settled"

    async def release(self, name: str) -> str:
        """Free what was held, after the signer refused, or the chain carried nothing out."""
        found = self.register.withdrawal(name)
        if found["status"] != RELEASED:
            self._must_be(found, DECLINED, FAILED)
            await self._ended(ReleaseHold(reference(name)))
            self.register.move(name, (DECLINED, FAILED), RELEASED)
        return "released"

    async def _ended(self, command: SettleHold | ReleaseHold) -> None:
        """End a hold. One that is gone was ended by this very step before: its status leads to no other."""
        reply = await self.engine.send(command)
        if not isinstance(reply, Done) and not (isinstance(reply, Rejected) and reply.reason == UNKNOWN_HOLD):
            raise EngineRefusedError(f"{type(command).__name__}: {reply}")

    @staticmethod
    def _must_be(found: dict[str, Any], *allowed: str) -> None:
        if found["status"] not in allowed:
            raise StatusError(f"withdrawal {found['id']} is {found['status']}, not {' or '.join(allowed)}")


def reference(name: str) -> str:
    """Return what the engine knows a withdrawal by; deposits have other prefixes."""
    return f"withdrawal/{name}"
