"""Every step of a withdrawal but those that move money: each done once however often it is asked for."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from runtime.chain.transactions import TransactionError, read_transfer
from runtime.shared.business_events import BusinessEvent, CaseOpened, WithdrawalDecided
from runtime.shared.request_table import StatusError
from runtime.wallet_enclave.messages import Refused, Signed, SignWithdrawal, Withdrawal, decode, encode
from runtime.withdrawals.approvals import valid
from runtime.withdrawals.nodes import Chain, Fate, Offered
from runtime.withdrawals.register import (
    ASKED,
    CHECKED,
    DECLINED,
    FAILED,
    FINAL,
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
CHAIN_WAIT_S: Final = 3 * 3600
"""So long nodes may stay away, and a transaction not final; then a person looks. It stays signed and its funds held."""
HALTED: Final = Reason("withdrawals-halted", "withdrawals are halted")
Decision = Literal["waiting", "approved", "signed", "sent", "final", "refused"]


class UnknownStepError(ValueError):
    """The state machine asks for a step that there is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clerk:
    """What the steps work with. `now_s` is given, so that tests can choose it."""

    register: Register
    signing: Signing
    chain: Chain
    rules: tuple[Rule, ...]
    confirmations: Mapping[str, int]
    """By asset: blocks until a transaction is final, its own counted."""
    count_max: int
    """Withdrawals of all customers in an hour; one more halts all."""
    is_locked: Callable[[int], bool]
    """Whether an account's withdrawals wait after a change of credentials."""
    publish: Callable[[BusinessEvent], None]
    now_s: int

    def do(self, request: Mapping[str, Any]) -> str:
        """Carry out the step that `request` names; return its outcome. Raises UnknownStepError, and as the stores."""
        name = str(request["withdrawal_id"])
        steps: Mapping[str, Callable[[], str]] = {
            "locate": lambda: str(self.register.withdrawal(name)["status"]),
            "check": lambda: self.check(name),
            "prepare": lambda: self.prepare(name),
            "await-approval": lambda: self.await_approval(name, str(request["token"])),
            "not-approved": lambda: self._against(name, PREPARED, [Reason("not-approved", "not approved in time")]),
            "sign": lambda: self.sign(name),
            "read-signature": lambda: self.read_signature(name),
            "send": lambda: self.send(name),
            "await": lambda: self.await_final(name),
            "refuse": lambda: self.refuse(name),
            "undecided": lambda: self.undecided(name),
        }
        if request["step"] not in steps:
            raise UnknownStepError(f"no step {request['step']!r}, the steps are {', '.join(steps)}")
        return steps[request["step"]]()

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
                sender=manifest.address,
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
        found = self.register.withdrawal(name)
        if found["status"] in {SIGNED, SENT, FINAL, FAILED, SETTLED}:
            return "signed"
        if found["status"] in {DECLINED, RELEASED}:
            return "declined"
        answer, asked_at = self.signing.answer(name)
        match answer:
            case None:
                return "lost" if self.now_s - asked_at > SIGNATURE_WAIT_S else "waiting"
            case Signed() if self._carries_out(found, answer):
                sent = {"raw_transaction": answer.raw_transaction, "transaction_id": answer.transaction_id}
                self.register.move(name, (SIGNING,), SIGNED, signed_at_s=self.now_s, **sent)
                self._decided(name, "signed")
                return "signed"
            case Refused():
                noted = json.dumps([Reason("signer-refused", answer.reason)])
                self.register.move(name, (SIGNING,), DECLINED, noted=noted)
                return "declined"
            case _:
                return "lost"

    def _carries_out(self, found: Mapping[str, Any], answer: Signed) -> bool:
        """Return whether the signed bytes are exactly the transfer that was asked for; what is not is never sent."""
        wanted, manifest = decode(found["transfer"].encode(), Withdrawal), self.signing.manifest()
        rules = manifest.assets if manifest else ()
        rule = next((each for each in rules if (each.chain, each.asset) == (wanted.chain, wanted.asset)), None)
        try:
            signed = read_transfer(bytes.fromhex(answer.raw_transaction))
        except TransactionError:
            return False
        return (
            rule is not None
            and answer.request_id == found["id"]
            and (signed.hash, signed.data) == (answer.transaction_id, b"")
            and (signed.chain_id, signed.nonce, signed.to) == (rule.chain_id, wanted.nonce, wanted.destination)
            and signed.value == wanted.amount * rule.chain_units
        )

    def send(self, name: str) -> str:
        """Hand the transaction to the nodes: `sent`, `waiting` while none takes it, `lost` when that took too long.

        A refusal is not the end: the signature stays good, so whoever mends its cause has it sent with the next try.
        """
        found = self.register.withdrawal(name)
        if found["status"] == SIGNED:
            outcome, words = self.chain.offer(found["raw_transaction"], found["transaction_id"])
            if outcome is not Offered.TAKEN:
                if outcome is Offered.REFUSED and words != found.get("node_words"):
                    self._case(f"withdrawal-not-taken/{name}", "withdrawal-not-taken", "high")
                    self.register.move(name, (SIGNED,), SIGNED, node_words=words)
                return self._waiting(found["signed_at_s"])
            self.register.move(name, (SIGNED,), SENT, sent_at_s=self.now_s)
        self._decided(name, "sent")
        return "sent"

    def _waiting(self, since_s: int) -> str:
        return "lost" if self.now_s - since_s > CHAIN_WAIT_S else "waiting"

    def await_final(self, name: str) -> str:
        """Return `final`, `failed`, `waiting`, or `lost` for a person to look: too late, or never to come.

        What the nodes have lost is sent again: the same bytes, so nothing can be paid twice. A transaction whose number
        another one has taken halts everything, as the wallet's numbers or its key are in other hands then.
        """
        found = self.register.withdrawal(name)
        if found["status"] in {FINAL, SETTLED}:
            return "final"
        if found["status"] in {FAILED, RELEASED}:
            return "failed"
        transfer_ = decode(found["transfer"].encode(), Withdrawal)
        fate, mined = self.chain.fate(
            found["transaction_id"], found["sender"], transfer_.nonce, self.confirmations[found["asset"]]
        )
        if fate is Fate.UNKNOWN:
            self.chain.offer(found["raw_transaction"], found["transaction_id"])
        if fate is Fate.REPLACED:
            self.register.halt(f"replaced/{name}", self.now_s)
            self._case(f"withdrawal-replaced/{name}", "withdrawal-replaced", "high")
            return "lost"
        if mined is None:
            return self._waiting(found["sent_at_s"])
        status, paid = (FINAL, transfer_.amount) if mined.succeeded else (FAILED, 0)
        block: dict[str, str | int] = {"block": mined.block, "height": mined.height, "final_at_s": self.now_s}
        if status == FAILED:
            block["noted"] = json.dumps([Reason("failed-on-chain", "the chain did not carry the transfer out")])
        self.register.final(name, status, block, paid=paid, network_fee=mined.network_fee)
        if status == FINAL:
            self._decided(name, "final")
        return status

    def refuse(self, name: str) -> str:
        """Give back a withdrawal's place and what it was counted for, end it, tell the bus why. Raises StatusError."""
        found = self.register.withdrawal(name)
        if found["status"] not in {*REFUSABLE, REFUSED}:
            raise StatusError(f"withdrawal {name} is {found['status']} and cannot be refused any more")
        reasons = [Reason(*each) for each in json.loads(found.get("noted", "[]"))]
        if found["status"] in {ASKED, CHECKED, PREPARED}:
            # From here another execution can only refuse: it must not sign with a place that somebody else has then.
            self.register.move(name, (found["status"],), RELEASED)
        if "block" not in found:  # the place of one that failed on the chain is used up
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
