"""Every step of a withdrawal but those that move money: each done once however often it is asked for."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from runtime.shared.business_events import BusinessEvent, CaseOpened, WithdrawalDecided
from runtime.shared.request_table import StatusError
from runtime.wallet_enclave.messages import Refused, Signed, SignWithdrawal, Withdrawal, decode, encode
from runtime.withdrawals.approvals import valid
from runtime.withdrawals.nodes import Chain
from runtime.withdrawals.register import (
    ASKED,
    CHECKED,
    DECLINED,
    HELD,
    PREPARED,
    REFUSABLE,
    REFUSED,
    RELEASED,
    SENT,
    SETTLED,
    SIGNED,
    SIGNING,
    LimitError,
    Register,
    request_of,
)
from runtime.withdrawals.rules import Reason, Rule, above_day, reasons_against
from runtime.withdrawals.signing import Signing, transfer

SIGNATURE_WAIT_S: Final = 600
HALTED: Final = Reason("withdrawals-halted", "withdrawals are halted")
Decision = Literal["waiting", "approved", "signed", "sent", "refused"]


class UnknownStepError(ValueError):
    """The state machine asks for a step that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clerk:
    """What the steps work with. `now_s` is given, so that tests can choose it."""

    register: Register
    signing: Signing
    chain: Chain
    rules: tuple[Rule, ...]
    count_max: int
    """Withdrawals of all customers in an hour; one more halts all."""
    is_locked: Callable[[int], bool]
    """Whether an account's withdrawals wait after a change of credentials."""
    publish: Callable[[BusinessEvent], None]
    now_s: int

    def do(self, request: Mapping[str, Any]) -> str:
        """Carry out the step that `request` names; return its outcome. Raises UnknownStepError, and as the stores."""
        name = str(request["withdrawal_id"])
        match request["step"]:
            case "check":
                return self.check(name)
            case "prepare":
                return self.prepare(name)
            case "await-approval":
                return self.await_approval(name, str(request["token"]))
            case "not-approved":
                return self._against(name, PREPARED, [Reason("not-approved", "not approved in time")])
            case "sign":
                return self.sign(name)
            case "read-signature":
                return self.read_signature(name)
            case "send":
                return self.send(name)
            case "refuse":
                return self.refuse(name)
            case "undecided":
                return self.undecided(name)
            case step:
                raise UnknownStepError(f"no step {step!r}")

    def rule(self, asset: str, chain: str) -> Rule | None:
        """Return the rule of an asset on a chain."""
        return next((rule for rule in self.rules if (rule.asset, rule.chain) == (asset, chain)), None)

    def check(self, name: str) -> str:
        """Hold a request against every rule and count it: `allowed` or `refused`. Over the hour's limits all halts."""
        found = self.register.withdrawal(name)
        if found["status"] != ASKED:
            return "allowed" if found["status"] == CHECKED else "refused"
        request = request_of(found)
        rule = self.rule(request.asset, request.chain)
        reasons = [HALTED] if self.register.is_halted else []
        reasons += reasons_against(
            request,
            rule,
            self.register.address(request.account, request.chain, request.destination),
            left_today=self.register.left_today(request, self.now_s),
            is_locked=self.is_locked(request.account),
            now_s=self.now_s,
        )
        if not reasons and rule is not None:
            try:
                self.register.count(request, rule, count_max=self.count_max, now_s=self.now_s)
            except LimitError as limit:
                reasons = [above_day(rule, request.amount) if limit.which == "day" else self._halted(name, limit)]
        return self._against(name, ASKED, reasons) if reasons else "allowed"

    def _halted(self, name: str, limit: LimitError) -> Reason:
        reason = f"velocity-{limit.which}"
        self.register.halt(reason, self.now_s)
        self._case(f"withdrawals-halted/{name}", "withdrawals-halted", "high")
        return HALTED

    def _against(self, name: str, status: str, reasons: Iterable[Reason]) -> str:
        """Note why a withdrawal will be refused."""
        noted = list(reasons)
        self.register.move(name, (status,), status, noted=json.dumps(noted))
        return "refused"

    def prepare(self, name: str) -> str:
        """Fix the transfer to the last digit, so that approvals can be of exactly it; tell whether they are needed."""
        found = self.register.withdrawal(name)
        if found["status"] == CHECKED:
            rule, manifest = self.rule(found["asset"], found["chain"]), self.signing.manifest()
            if rule is None or manifest is None:
                return self._against(name, CHECKED, [Reason("no-wallet", "no wallet can pay this out now")])
            wanted = transfer(found, rule.fee, self.signing.place(name))
            self.register.move(
                name,
                (CHECKED,),
                PREPARED,
                transfer=encode(wanted).decode(),
                fee=rule.fee,
                approvals_needed=manifest.approvals_required if found["amount"] > rule.approval_above else 0,
                approvers=json.dumps(manifest.approvers),
            )
            found = self.register.withdrawal(name)
        return "approval" if found["approvals_needed"] else "no-approval"

    def await_approval(self, name: str, token: str) -> str:
        """Keep the token for whoever completes the approvals, and tell the bus that it waits."""
        self.register.move(name, (PREPARED,), PREPARED, token=token)
        self._decided(name, "waiting")
        return "waiting"

    def sign(self, name: str) -> str:
        """Ask the enclave, with the approvals that count now."""
        found = self.register.withdrawal(name)
        wanted = decode(found["transfer"].encode(), Withdrawal)
        if found["status"] == HELD:
            self.signing.ask(SignWithdrawal(wanted, valid(found, self.now_s)), self.now_s)
        self.register.move(name, (HELD,), SIGNING)
        return "asked"

    def read_signature(self, name: str) -> str:
        """Return `signed`, `declined`, `waiting`, or `lost` when no answer came in time: a signature may exist then."""
        status = self.register.withdrawal(name)["status"]
        if status in {SIGNED, SENT, SETTLED}:
            return "signed"
        if status in {DECLINED, RELEASED}:
            return "declined"
        answer, asked_at = self.signing.answer(name)
        match answer:
            case None:
                return "lost" if self.now_s - asked_at > SIGNATURE_WAIT_S else "waiting"
            case Signed() if answer.request_id == name:
                sent = {"raw_transaction": answer.raw_transaction, "transaction_id": answer.transaction_id}
                self.register.move(name, (SIGNING,), SIGNED, **sent)
                self._decided(name, "signed")
                return "signed"
            case Refused():
                noted = json.dumps([Reason("signer-refused", answer.reason)])
                self.register.move(name, (SIGNING,), DECLINED, noted=noted)
                return "declined"
            case _:
                return "lost"

    def send(self, name: str) -> str:
        """Hand the transaction to the nodes: `sent`, or `no-node` when none is configured. Raises NodeError."""
        found = self.register.withdrawal(name)
        if found["status"] not in {SENT, SETTLED}:
            if not self.chain.send(found["raw_transaction"], found["transaction_id"]):
                return "no-node"
            self.register.move(name, (SIGNED,), SENT)
        self._decided(name, "sent")
        return "sent"

    def refuse(self, name: str) -> str:
        """Give back a withdrawal's place and what it was counted for, end it, tell the bus why. Raises StatusError."""
        found = self.register.withdrawal(name)
        if found["status"] not in {*REFUSABLE, REFUSED}:
            raise StatusError(f"withdrawal {name} is {found['status']} and cannot be refused any more")
        reasons = [Reason(*each) for each in json.loads(found.get("noted", "[]"))]
        self.signing.give_back(name)
        self.register.refuse(name, reasons)
        self._decided(name, "refused", tuple(reason.code for reason in reasons))
        return "refused"

    def undecided(self, name: str) -> str:
        """Open a case for a person to decide; the funds stay held."""
        self._case(f"withdrawal-undecided/{name}", "withdrawal-undecided", "high")
        return "undecided"

    def _case(self, name: str, kind: str, severity: Literal["low", "medium", "high"]) -> None:
        self.publish(
            CaseOpened(event_id=name, at_us=self.now_s * 1_000_000, case_id=name, kind=kind, severity=severity)
        )

    def _decided(self, name: str, decision: Decision, reasons: tuple[str, ...] = ()) -> None:
        found = self.register.withdrawal(name)
        self.publish(
            WithdrawalDecided(
                event_id=f"withdrawal-{decision}/{name}",
                at_us=self.now_s * 1_000_000,
                account_id=found["account"],
                withdrawal_id=name,
                asset=found["asset"],
                amount=str(found["amount"]),
                decision=decision,
                reasons=reasons,
            )
        )
