"""The whole way of a withdrawal on the true engine core, cut off at every effect it has."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from moto import mock_aws

from runtime.shared import messages as m
from runtime.shared.business_events import BusinessEvent, CaseOpened, WithdrawalDecided
from runtime.shared.request_table import StatusError
from runtime.wallet_enclave.messages import Refused, Signed, SignWithdrawal, approval_text, decode, encode
from runtime.withdrawals.approvals import ApprovalError, check, stored
from runtime.withdrawals.clerk import Clerk
from runtime.withdrawals.flow import FLOW
from runtime.withdrawals.nodes import NodeError
from runtime.withdrawals.register import HELD, PREPARED, Register, address_key
from runtime.withdrawals.rules import Receiver, Request, Rule
from runtime.withdrawals.signing import Signing
from runtime.withdrawals.teller import NotApprovedError, Teller
from tests.runtime.custody import vault
from tests.runtime.engine.test_engine import ALICE, COIN, USDT, Desk

NOW = int(time.time())
REGION = "ap-southeast-3"
ADDRESS = vault.DESTINATION
RULE = Rule(
    asset="ETH",
    chain="ethereum",
    minimum=10,
    transaction_max=400 * COIN,
    day_max=900 * COIN,
    approval_above=100 * COIN,
    travel_rule_from=10**18,
    cooldown_s=60,
    hour_max=900 * COIN,
    fee=COIN,
)
MUTATIONS = frozenset({"put_item", "update_item", "transact_write_items", "send"})


class Killed(Exception):  # noqa: N818 - not an error of ours
    """The process ended here."""


@dataclass
class Fuse:
    """Ends the process once, before or after its n-th effect."""

    at: int = -1
    after: bool = False
    effects: int = 0

    def around(self, work: Callable[[], Any]) -> Any:
        number, self.effects = self.effects, self.effects + 1
        if number == self.at and not self.after:
            raise Killed
        done = work()
        if number == self.at:
            raise Killed
        return done


class Fragile:
    """Anything whose changes go through a fuse."""

    def __init__(self, inner: Any, fuse: Fuse) -> None:
        self._inner, self._fuse = inner, fuse

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name not in MUTATIONS:
            return method
        return lambda *args, **named: self._fuse.around(lambda: method(*args, **named))


@dataclass
class Core:
    """The engine's core behind the teller's port."""

    desk: Desk
    fuse: Fuse

    async def send(self, command: m.Command) -> m.Reply:
        reply: m.Reply = self.fuse.around(lambda: self.desk.do(command))
        return reply

    async def ask(self, question: m.Question) -> m.Answer:
        assert isinstance(question, m.AskHold)
        return self.desk.engine.holds.get(question.reference, m.Unknown())


@dataclass
class Node:
    """A chain that takes what it is given, unless it is out of order."""

    sent: list[str] = field(default_factory=list)
    is_there: bool = True

    def send(self, raw_transaction: str, _transaction_id: str) -> bool:
        if self.is_there:
            self.sent.append(raw_transaction)
        return self.is_there


@dataclass
class Office:
    """Everything a withdrawal meets, with an enclave that signs what the manifest lists."""

    client: Any
    desk: Desk = field(default_factory=Desk)
    node: Node = field(default_factory=Node)
    events: list[BusinessEvent] = field(default_factory=list)
    fuse: Fuse = field(default_factory=Fuse)
    now_s: int = NOW
    count_max: int = 1000
    locked: frozenset[int] = frozenset()
    rule: Rule = RULE

    @property
    def register(self) -> Register:
        return Register("withdrawals", client=Fragile(self.client, self.fuse))

    @property
    def clerk(self) -> Clerk:
        return Clerk(
            register=self.register,
            signing=Signing("signing", client=Fragile(self.client, self.fuse)),
            chain=Fragile(self.node, self.fuse),
            rules=(self.rule,),
            count_max=self.count_max,
            is_locked=lambda account: account in self.locked,
            publish=lambda event: self.fuse.around(lambda: self.events.append(event)),
            now_s=self.now_s,
        )

    @property
    def teller(self) -> Teller:
        engine = Core(self.desk, self.fuse)
        return Teller(register=self.register, engine=engine, assets={"ETH": USDT}, now_s=self.now_s)

    def ask(self, name: str, **changes: Any) -> str:
        given = {
            "account": ALICE,
            "asked_by": "customer-1",
            "asset": "ETH",
            "chain": "ethereum",
            "destination": ADDRESS,
            "amount": 10 * COIN,
            "receiver": Receiver(name="Ani", place=""),
        }
        Register("withdrawals", client=self.client).add(Request(request_id=name, **given | changes), self.now_s)
        return name

    def do(self, function: str, payload: dict[str, Any]) -> str:
        if function == "${Teller}":
            return asyncio.run(self.teller.do(payload["step"], payload["withdrawal_id"]))
        return self.clerk.do(payload)

    def run(self, name: str, *approvers: int) -> str:
        """Go the way of the state machine, with its retries; return where it ends."""
        state, last = FLOW["StartAt"], ""
        while True:
            here = FLOW["States"][state]
            match here["Type"]:
                case "Task":
                    payload = {"step": here["Parameters"]["Payload"]["step"], "withdrawal_id": name, "token": "t"}
                    try:
                        last = self._retried(here["Parameters"]["FunctionName"], payload)
                        if payload["step"] == "await-approval":
                            for number in approvers:
                                self.approve(name, number)
                        state = here["Next"]
                    except (StatusError, NotApprovedError, NodeError):
                        state = "Undecided" if state != "Undecided" else "NotDecided"
                case "Choice":
                    found = [each["Next"] for each in here["Choices"] if each["StringEquals"] == last]
                    state = found[0] if found else here["Default"]
                case "Wait":
                    self.answer(name)
                    state = here["Next"]
                case _:
                    return state

    def _retried(self, function: str, payload: dict[str, Any]) -> str:
        try:
            return self.do(function, payload)
        except Killed:
            return self.do(function, payload)

    def answer(self, name: str) -> None:
        """Answer as the enclave would: the same bytes for the same request."""
        item = self.client.get_item(TableName="signing", Key={"id": {"S": name}})["Item"]
        asked = decode(item["request"]["S"].encode(), SignWithdrawal).withdrawal
        raw = hashlib.sha256(encode(asked)).hexdigest()
        reply = Signed(name, raw, "0x" + raw) if asked.destination == ADDRESS else Refused("not on the list")
        self.client.update_item(
            TableName="signing",
            Key={"id": {"S": name}},
            UpdateExpression="SET answer = :answer REMOVE waiting",
            ExpressionAttributeValues={":answer": {"S": encode(reply).decode()}},
        )

    def approve(self, name: str, number: int) -> None:
        found = self.register.withdrawal(name)
        key, until = vault.APPROVERS[number], NOW + 600
        text = approval_text(hashlib.sha256(found["transfer"].encode()).digest(), until)
        approval = vault.Approval(vault.public(key), until, key.sign(text).hex())
        check(found, approval, self.now_s)
        self.register.approve(name, approval.approver, stored(approval))

    def know(self, address: str) -> None:
        item = {"id": {"S": address_key(ALICE, "ethereum", address)}, "added_at_s": {"N": str(NOW - 3600)}}
        self.client.put_item(TableName="withdrawals", Item=item | {"is_screened": {"N": "1"}})

    @property
    def balance(self) -> tuple[int, int]:
        return self.desk.balance(ALICE, USDT)

    def reasons(self, name: str) -> list[str]:
        found: list[str] = json.loads(self.register.withdrawal(name)["reasons"])
        return found

    def decided(self, name: str) -> list[str]:
        return [e.decision for e in self.events if isinstance(e, WithdrawalDecided) and e.withdrawal_id == name]


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        for table in ("withdrawals", "signing"):
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        loaded = encode(vault.load(vault.manifest(ADDRESS), *vault.SIGNERS)).decode()
        client.put_item(TableName="signing", Item={"id": {"S": "manifest#hot-1"}, "manifest": {"S": loaded}})
        made = Office(client)
        made.know(ADDRESS)
        yield made


def nonces(office: Office, *names: str) -> list[int]:
    return [json.loads(office.register.withdrawal(name)["transfer"])["nonce"] for name in names]


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_process_that_ends_anywhere_neither_loses_nor_doubles(office: Office, *, after: bool) -> None:
    assert office.run(office.ask("withdrawal-whole")) == "Settled"
    effects = office.fuse.effects
    assert effects > 8
    for at in range(effects):
        free, held = office.balance
        sent, name = len(set(office.node.sent)), f"withdrawal-{at:04}"
        office.fuse = Fuse(at, after)
        assert office.run(office.ask(name)) == "Settled", at
        assert office.fuse.effects > at
        assert office.balance == (free - 10 * COIN, held), at
        assert len(set(office.node.sent)) == sent + 1, at
    names = ["withdrawal-whole", *(f"withdrawal-{at:04}" for at in range(effects))]
    assert nonces(office, *names) == list(range(effects + 1))


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_refund_is_exact_wherever_the_process_ends(office: Office, *, after: bool) -> None:
    stranger = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
    office.know(stranger)
    before = office.balance
    assert office.run(office.ask("withdrawal-whole", destination=stranger)) == "Refused"
    effects = office.fuse.effects
    for at in range(effects):
        name = f"withdrawal-{at:04}"
        office.fuse = Fuse(at, after)
        assert office.run(office.ask(name, destination=stranger)) == "Refused", at
        assert (office.balance, office.reasons(name)) == (before, ["signer-refused"]), at
        assert nonces(office, name) == [0], at  # the place of the one before
    assert office.node.sent == []
    office.fuse = Fuse()
    request = Request(
        request_id="x", account=ALICE, asked_by="a", asset="ETH", chain="ethereum", destination="", amount=1,
        receiver=None,
    )  # fmt: skip
    assert office.register.left_today(request, NOW) == 0


def test_a_large_withdrawal_needs_two_who_did_not_ask(office: Office) -> None:
    before = office.balance
    large = {"amount": 150 * COIN}
    assert office.run(office.ask("withdrawal-none", **large)) == "NotDecided"
    assert office.run(office.ask("withdrawal-one", **large), 0) == "NotDecided"
    assert office.run(office.ask("withdrawal-twice", **large), 1, 1) == "NotDecided"
    assert office.balance == before
    asked = office.ask("withdrawal-self", **large, asked_by=vault.public(vault.APPROVERS[0]))
    with pytest.raises(ApprovalError, match="nobody approves what they asked for"):
        office.run(asked, 0, 1)
    assert office.run(office.ask("withdrawal-two", **large), 0, 1) == "Settled"
    assert office.balance == (before[0] - 150 * COIN, before[1])
    assert office.decided("withdrawal-two") == ["waiting", "signed", "sent"]


def test_an_approval_of_another_transfer_or_after_its_end_holds_nothing(office: Office) -> None:
    name = office.ask("withdrawal-late", amount=150 * COIN)
    for step in ("check", "prepare"):
        office.clerk.do({"step": step, "withdrawal_id": name})
    office.approve(name, 0)
    office.approve(name, 1)
    office.now_s = NOW + 601
    with pytest.raises(NotApprovedError, match="2 approvals are needed, 0 count"):
        asyncio.run(office.teller.hold(name))
    office.now_s = NOW
    changed = office.register.withdrawal(name)["transfer"].replace('"nonce":0', '"nonce":1')
    office.register.move(name, (PREPARED,), PREPARED, transfer=changed)
    with pytest.raises(NotApprovedError, match="0 count"):
        asyncio.run(office.teller.hold(name))


def test_too_much_in_an_hour_halts_everything_until_somebody_opens_again(office: Office) -> None:
    office.rule = Rule(**{name: getattr(RULE, name) for name in RULE.__dataclass_fields__} | {"hour_max": 25 * COIN})
    assert [office.run(office.ask(f"withdrawal-{n:04}")) for n in range(3)] == ["Settled", "Settled", "Refused"]
    assert office.reasons("withdrawal-0002") == ["withdrawals-halted"]
    cases = [event for event in office.events if isinstance(event, CaseOpened)]
    assert [case.kind for case in cases] == ["withdrawals-halted"]
    office.now_s = NOW + 3 * 3600
    assert office.run(office.ask("withdrawal-0003")) == "Refused"
    office.client.delete_item(TableName="withdrawals", Key={"id": {"S": "switch#halted"}})
    assert office.run(office.ask("withdrawal-0004")) == "Settled"


def test_too_many_in_an_hour_halt_everything(office: Office) -> None:
    office.count_max = 2
    ends = [office.run(office.ask(f"withdrawal-{n:04}", amount=10 * COIN)) for n in range(4)]
    assert ends == ["Settled", "Settled", "Refused", "Refused"]


def test_a_customers_day_and_lock_bound_the_customer_alone(office: Office) -> None:
    office.rule = Rule(**{name: getattr(RULE, name) for name in RULE.__dataclass_fields__} | {"day_max": 25 * COIN})
    ends = [office.run(office.ask(f"withdrawal-{n:04}")) for n in range(3)]
    assert (ends, office.reasons("withdrawal-0002")) == (["Settled", "Settled", "Refused"], ["above-day-limit"])
    assert not office.register.is_halted
    office.now_s, office.locked = NOW + 24 * 3600, frozenset({ALICE})
    assert office.run(office.ask("withdrawal-0003")) == "Refused"
    assert office.reasons("withdrawal-0003") == ["account-locked"]


def test_without_a_node_a_signed_withdrawal_is_kept_with_its_funds(office: Office) -> None:
    office.node.is_there = False
    free, held = office.balance
    assert office.run(office.ask("withdrawal-kept")) == "Kept"
    assert office.balance == (free - 10 * COIN, held + 10 * COIN)
    assert office.register.withdrawal("withdrawal-kept")["status"] == "signed"
    with pytest.raises(StatusError):
        office.register.refuse("withdrawal-kept", [])


def test_more_than_there_is_or_out_of_turn_moves_nothing(office: Office) -> None:
    before = office.balance
    office.rule = Rule(
        **{name: getattr(RULE, name) for name in RULE.__dataclass_fields__}
        | {"transaction_max": 10**15, "day_max": 10**15, "hour_max": 10**15, "approval_above": 10**15}
    )
    assert office.run(office.ask("withdrawal-much", amount=before[0] + 1)) == "Refused"
    assert office.reasons("withdrawal-much") == ["insufficient-balance"]
    name = office.ask("withdrawal-skip")
    for step in ("hold", "settle", "release"):
        with pytest.raises(StatusError):
            asyncio.run(office.teller.do(step, name))
    office.register.move(name, ("asked",), HELD)
    with pytest.raises(StatusError):
        asyncio.run(office.teller.settle(name))
    assert office.balance == before


def test_one_id_is_one_withdrawal(office: Office) -> None:
    office.ask("withdrawal-0001")
    office.ask("withdrawal-0001")
    with pytest.raises(StatusError, match="another withdrawal has the id"):
        office.ask("withdrawal-0001", amount=11 * COIN)


def test_no_signature_in_time_ends_with_a_person_and_the_funds_held(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, held = office.balance

    def silence(_office: Office, _name: str) -> None:
        office.now_s += 700

    monkeypatch.setattr(Office, "answer", silence)
    assert office.run(office.ask("withdrawal-lost")) == "NotDecided"
    assert office.balance == (free - 10 * COIN, held + 10 * COIN)
    assert [e.kind for e in office.events if isinstance(e, CaseOpened)] == ["withdrawal-undecided"]
