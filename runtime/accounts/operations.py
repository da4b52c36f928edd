"""What the operator asks of the engine: open accounts, credit deposits."""

from typing import Final

from runtime.shared.engine_link import EngineLink
from runtime.shared.messages import (
    BAD_AMOUNT,
    BAD_NAME,
    DUPLICATE_TRANSFER,
    UNKNOWN_ACCOUNT,
    UNKNOWN_ASSET,
    UNKNOWN_TIER,
    AccountOpened,
    AskTotals,
    Command,
    Deposit,
    Done,
    OpenAccount,
    Rejected,
    Reply,
    Totals,
)

_REASONS: Final = {
    UNKNOWN_ACCOUNT: "there is no such account",
    UNKNOWN_ASSET: "the engine has no such asset",
    UNKNOWN_TIER: "the engine has no such tier",
    BAD_AMOUNT: "the amount is not more than zero, or makes the balance too large",
    BAD_NAME: "the name or reference is not allowed",
}


class CommandRefusedError(RuntimeError):
    """The engine refused the command; nothing changed."""

    def __init__(self, command: Command, rejected: Rejected) -> None:
        """Say what was refused, and why."""
        why = _REASONS.get(rejected.reason, f"reason {rejected.reason}")
        detail = f" ({rejected.detail})" if rejected.detail else ""
        super().__init__(f"{type(command).__name__} was refused: {why}{detail}")
        self.reason = rejected.reason


async def open_account(link: EngineLink, name: str, tier: int) -> int:
    """Open the account called `name`, or move it to `tier` (an id), and return its id.

    Raises CommandRefusedError, and what `EngineLink.send` raises.
    """
    reply = await _sent(link, OpenAccount(name, tier))
    assert isinstance(reply, AccountOpened)
    return reply.account


async def deposit(link: EngineLink, account: int, asset: int, amount: int, reference: str) -> bool:
    """Credit `amount` units; return False if `reference` was credited before: then nothing changed.

    Raises CommandRefusedError, and what `EngineLink.send` raises; after the latter, the same call again is safe.
    """
    try:
        reply = await _sent(link, Deposit(account, asset, amount, reference))
    except CommandRefusedError as error:
        if error.reason == DUPLICATE_TRANSFER:
            return False
        raise
    assert isinstance(reply, Done)
    return True


async def ask_totals(link: EngineLink) -> Totals:
    """Return what all accounts hold, per asset. Raises what `EngineLink.ask` raises."""
    answer = (await link.ask(AskTotals())).answer
    assert isinstance(answer, Totals)
    return answer


async def _sent(link: EngineLink, command: Command) -> Reply:
    reply = (await link.send(command)).reply
    if isinstance(reply, Rejected):
        raise CommandRefusedError(command, reply)
    return reply
