"""What a withdrawal meets, for tests: the true engine core, a simulated chain with two nodes, an enclave, a fuse."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from coincurve import PrivateKey

from local.simulated_chain import Chain
from runtime.chain.rpc import REFUSED, NodeError, NodeRefusedError, Rpc
from runtime.shared import messages as m
from runtime.shared.business_events import BusinessEvent, WithdrawalDecided
from runtime.shared.request_table import StatusError
from runtime.wallet_enclave.ethereum import address, derived, signed_transfer
from runtime.wallet_enclave.messages import Refused, Signed, SignWithdrawal, Withdrawal, approval_text, decode, encode
from runtime.withdrawals.approvals import check, stored
from runtime.withdrawals.clerk import Clerk
from runtime.withdrawals.flow import FLOW
from runtime.withdrawals.nodes import EthereumNodes
from runtime.withdrawals.register import Register, address_key
from runtime.withdrawals.rules import Receiver, Request, Rule
from runtime.withdrawals.signing import Signing
from runtime.withdrawals.teller import NotApprovedError, Teller
from tests.runtime.custody import vault
from tests.runtime.engine.test_engine import ALICE, COIN, USDT, Desk
from tests.runtime.shared.fuse import Fragile, Fuse, Killed

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
CONFIRMATIONS = 3
WALLET = derived(b"a seed of tests")
WEI = 10**10
"""In one unit of the ledger."""


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


class Node(Rpc):
    """A node's sidecar without a wire. It remembers what it was sent."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.is_there = True
        self.sent: list[str] = []

    async def call(self, method: str, *params: object) -> Any:
        if not self.is_there:
            raise NodeError("no answer")
        if method == "eth_sendRawTransaction":
            self.sent.append(str(params[0]))
        try:
            return self.chain.answer(method, list(params))
        except NodeRefusedError as refused:
            raise NodeRefusedError(method, {"code": REFUSED, "message": refused.words}) from None


@dataclass
class Office:
    """Everything a withdrawal meets, with an enclave that signs what the manifest lists."""

    client: Any
    desk: Desk = field(default_factory=Desk)
    chain: Chain = field(default_factory=Chain)
    nodes: list[Node] = field(default_factory=list)
    events: list[BusinessEvent] = field(default_factory=list)
    fuse: Fuse = field(default_factory=Fuse)
    now_s: int = NOW
    count_max: int = 1000
    locked: frozenset[int] = frozenset()
    rule: Rule = RULE
    key: PrivateKey = WALLET
    """That the enclave signs with."""
    altered: Callable[[Withdrawal], Withdrawal] = lambda asked: asked
    """What the enclave signs in the place of what it is asked."""
    meanwhile: Callable[[str], None] = lambda _state: None
    """What else happens while the state machine pauses, by the state's name."""

    def __post_init__(self) -> None:
        self.nodes = self.nodes or [Node(self.chain), Node(self.chain)]
        self.chain.pay(address(WALLET), 10**30)
        self.chain.mine()

    @property
    def sent(self) -> set[str]:
        """Every different transaction that a node was sent."""
        return {each for node in self.nodes for each in node.sent}

    @property
    def received(self) -> int:
        """What arrived where withdrawals go, in units of the ledger."""
        return self.chain.balance_of(ADDRESS) // WEI

    @property
    def register(self) -> Register:
        return Register("withdrawals", client=Fragile(self.client, self.fuse))

    @property
    def clerk(self) -> Clerk:
        return Clerk(
            register=self.register,
            signing=Signing("signing", client=Fragile(self.client, self.fuse)),
            chain=Fragile(EthereumNodes(self.nodes), self.fuse),
            confirmations={"ETH": CONFIRMATIONS},
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
                    except (StatusError, NotApprovedError) as error:
                        caught = [each["Next"] for each in here["Catch"] if type(error).__name__ in each["ErrorEquals"]]
                        state = (caught or [here["Catch"][-1]["Next"]])[0]
                case "Choice":
                    found = [each["Next"] for each in here["Choices"] if each["StringEquals"] == last]
                    state = found[0] if found else here["Default"]
                case "Wait":
                    self.meanwhile(state)
                    if state == "Pause":
                        self.answer(name)
                    else:
                        self.chain.mine()
                    self.now_s += here["Seconds"]
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
        raw, transaction = signed_transfer(self.key, self.altered(asked), vault.rule())
        listed = asked.destination == ADDRESS
        reply = Signed(name, raw.hex(), transaction) if listed else Refused("not on the list")
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
