"""Every step of a closure but those that ask the engine or the ledger: each done once however often it comes."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Literal, Protocol

from runtime.offboarding.approvals import NEEDED, valid
from runtime.offboarding.payouts import Payouts
from runtime.offboarding.register import ASKED, CLOSED, FROZEN, OPERATOR, REFUSED, Register
from runtime.shared.business_day import day_of
from runtime.shared.business_events import AccountClosed, BusinessEvent, CaseOpened, ClosureChanged

PAUSE_S_MIN: Final = 2
PAUSE_S_MAX: Final = 3600
PAUSE_SHARE: Final = 10
"""A pause lasts a tenth of what the closure has waited so far: quick at first, hourly after half a day."""


class UnknownStepError(ValueError):
    """The state machine asks for a step that there is not."""


class NotApprovedError(RuntimeError):
    """Too few approvals count now; nothing is frozen, whatever the caller says."""


class Keys(Protocol):
    """The API keys of accounts."""

    def revoke(self, account: int, now_s: int) -> int:
        """Disable every key of the account; return how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How many years records stay after the relation has ended."""

    files_years: int
    """Of due diligence."""
    books_years: int
    """Postings, statements, reports."""

    def until(self, closed_on: date) -> dict[str, str]:
        """Return the last day on which files, and books, of an account closed on that day must be there."""
        return {
            "files_until": after_years(closed_on, self.files_years).isoformat(),
            "books_until": after_years(closed_on, self.books_years).isoformat(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Clerk:
    """What the steps work with. `now_s` is given, so that tests can choose it."""

    register: Register
    keys: Keys
    payouts: Payouts
    approvers: Collection[str]
    retention: Retention
    publish: Callable[[BusinessEvent], None]
    now_s: int

    def do(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out the step that `request` names; return its outcome. Raises UnknownStepError, and as the stores."""
        name = str(request["closure_id"])
        match request["step"]:
            case "begin":
                return outcome(self.begin(name))
            case "await-approval":
                return outcome(self.await_approval(name, str(request["token"])))
            case "not-approved":
                self.register.move(name, (ASKED,), ASKED, noted="not-approved")
                return outcome("refused")
            case "freeze":
                return outcome(self.freeze(name))
            case "pay-out":
                return self.pay_out(name)
            case "close":
                return outcome(self.close(name))
            case "refuse":
                return outcome(self.refuse(name))
            case "undecided":
                return outcome(self.undecided(name, int(request["attempt"])))
            case step:
                raise UnknownStepError(f"no step {step!r}")

    def begin(self, name: str) -> str:
        """Tell where a closure goes on: an operator's waits for approvals until it is frozen."""
        found = self.register.request(name)
        if found["status"] == REFUSED:
            return "refused"
        if found["status"] == CLOSED:
            return "closed"
        return "approval" if found["status"] == ASKED and found["initiator"] == OPERATOR else "no-approval"

    def await_approval(self, name: str, token: str) -> str:
        """Keep the token for whoever completes the approvals, and tell the bus that it waits."""
        self.register.move(name, (ASKED,), ASKED, token=token)
        self._changed(name, "waiting")
        return "waiting"

    def freeze(self, name: str) -> str:
        """Let nobody trade for the account any more: every API key is revoked. Raises NotApprovedError."""
        found = self.register.request(name)
        if found["status"] == ASKED and found["initiator"] == OPERATOR:
            count = len(valid(found, self.approvers, self.now_s))
            if count < NEEDED:
                raise NotApprovedError(f"{NEEDED} approvals are needed, {count} count")
        # Again at each attempt: a key that was given out meanwhile goes as well.
        self.keys.revoke(found["account"], self.now_s)
        if found["status"] == ASKED:
            self.register.move(name, (ASKED,), FROZEN, frozen_at_s=self.now_s)
        self._changed(name, "frozen")
        return "frozen"

    def pay_out(self, name: str) -> dict[str, Any]:
        """Ask for the withdrawal of what is left and has an address, then say how long to wait."""
        found = self.register.request(name)
        left: dict[str, int] = json.loads(found.get("free", "{}"))
        asked: dict[str, Any] = json.loads(found.get("asked_out", "{}"))
        for asset, wanted in json.loads(found["details"])["payouts"].items():
            following = self.payouts.following(found, asset, left.get(asset, 0), asked.get(asset), self.now_s)
            if following is not None:
                asked[asset] = following
                # Noted before it is asked: after a crash the very same is asked for again, and carried out once.
                self.register.move(name, (FROZEN,), FROZEN, asked_out=json.dumps(asked))
            if asset in asked:
                self.payouts.ask(found, asset, wanted, asked[asset])
        return outcome("asked", pause_s(self.now_s - found["frozen_at_s"]))

    def close(self, name: str) -> str:
        """End it: the account is closed, and the clock of its records runs."""
        found = self.register.request(name)
        if found["status"] != CLOSED:
            closed_on = day_of(self.now_s * 1_000_000)
            self.register.close(
                name, found["account"], closed_on=closed_on.isoformat(), **self.retention.until(closed_on)
            )
            found = self.register.request(name)
        self.publish(
            AccountClosed(
                event_id=f"account-closed/{name}",
                at_us=self.now_s * 1_000_000,
                account_id=found["account"],
                retain_until=max(found["files_until"], found["books_until"]),
            )
        )
        return "closed"

    def refuse(self, name: str) -> str:
        """End a closure that nothing was done for, and tell the bus. Raises StatusError once it is frozen."""
        self.register.refuse(name)
        self._changed(name, "refused")
        return "refused"

    def undecided(self, name: str, attempt: int) -> str:
        """Open a case for a person; the account stays as it is, and the same request goes on once it is asked again."""
        found = self.register.request(name)
        self.publish(
            CaseOpened(
                event_id=f"closure-undecided/{name}/{attempt}",
                at_us=self.now_s * 1_000_000,
                case_id=f"closure-undecided/{name}/{attempt}",
                kind="closure-undecided",
                severity="medium",
                account_ids=(found["account"],),
            )
        )
        self.register.try_again(name, attempt)
        return "undecided"

    def _changed(self, name: str, state: Literal["waiting", "frozen", "refused"]) -> None:
        found = self.register.request(name)
        self.publish(
            ClosureChanged(
                event_id=f"closure-{state}/{name}",
                at_us=self.now_s * 1_000_000,
                account_id=found["account"],
                closure_id=name,
                state=state,
            )
        )


def open_due(register: Register, publish: Callable[[BusinessEvent], None], now_s: int) -> list[str]:
    """Open a case for each account whose files, or books, need not be kept any more; return their ids, each once.

    Nothing is deleted here: whether another law, a lawsuit or a tax audit still wants them is for a person to say.
    """
    today = day_of(now_s * 1_000_000).isoformat()
    opened = []
    for clock in register.clocks():
        for what in ("files", "books"):
            if clock[f"{what}_until"] < today and f"told_{what}" not in clock:
                name = f"retention-over/{what}/{clock['account']}"
                publish(
                    CaseOpened(
                        event_id=name,
                        at_us=now_s * 1_000_000,
                        case_id=name,
                        kind="retention-over",
                        severity="low",
                        account_ids=(clock["account"],),
                    )
                )
                register.told(clock["account"], what)
                opened.append(name)
    return opened


def outcome(word: str, wait_s: int = 0) -> dict[str, Any]:
    """Return what a step answers: what came of it, and how long to wait where the machine waits next."""
    return {"outcome": word, "wait_s": wait_s}


def pause_s(waited_s: int) -> int:
    """Return how long to wait before looking again."""
    return max(PAUSE_S_MIN, min(PAUSE_S_MAX, waited_s // PAUSE_SHARE))


def after_years(day: date, years: int) -> date:
    """Return the same day `years` later; for 29 February, where there is none, 1 March: never a day too early."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
