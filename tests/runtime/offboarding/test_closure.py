"""The whole way of a closure on the true engine core and a true ledger, cut off at every effect it has."""

import asyncio
import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import SimpleNamespace
from typing import Any

import boto3
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.environments import OFFBOARDING_APPROVERS
from config.markets import CATALOGUE
from runtime.engine.questions import answer
from runtime.offboarding.api_keys import ACCOUNT_INDEX, KeyRing
from runtime.offboarding.approvals import NEEDED, approval_text, check
from runtime.offboarding.broker import Broker
from runtime.offboarding.clerk import Clerk, NotApprovedError, Retention, after_years, open_due, pause_s
from runtime.offboarding.flow import FLOW
from runtime.offboarding.payouts import Payouts
from runtime.offboarding.register import CLOSURE, CUSTOMER, OPERATOR, Register
from runtime.offboarding.writer import Writer
from runtime.reporting.filing import Cabinet
from runtime.shared import messages as m
from runtime.shared.business_events import AccountClosed, BusinessEvent, CaseOpened, ClosureChanged
from runtime.shared.request_table import StatusError
from runtime.wallet_enclave.messages import Approval
from runtime.withdrawals.approvals import ApprovalError, stored
from runtime.withdrawals.rules import DAY_S, Rule
from tests.runtime.ledger.feeds import START_US, Database, Feed, order
from tests.runtime.shared.fuse import Fragile, Fuse, Killed

ETH = CATALOGUE.asset("ETH")
USDT = CATALOGUE.asset("USDT")
MARKET = next(each for each in CATALOGUE.markets if (each.base, each.quote) == ("ETH", "USDT"))
ETHER = 10**ETH.decimals
NOW = START_US // 1_000_000 + 40 * DAY_S
REGION = "us-east-1"
SEEDS = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
)
"""Test vectors of RFC 8032, section 7.1."""
APPROVERS = [Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed)) for seed in SEEDS]
RULE = Rule(
    asset="ETH",
    chain="ethereum",
    minimum=ETHER // 100,
    transaction_max=20 * ETHER,
    day_max=50 * ETHER,
    hour_max=200 * ETHER,
    approval_above=ETHER,
    travel_rule_from=ETHER,
    cooldown_s=0,
    fee=0,
)
PAYOUTS = {"ETH": {"chain": "ethereum", "destination": "0xabc", "receiver": {"name": "Ani", "place": "Jakarta"}}}


@dataclass
class Core:
    """The engine's core behind the broker's port."""

    feed: Feed
    fuse: Fuse

    async def send(self, command: m.Command) -> m.Reply:
        reply: m.Reply = self.fuse.around(lambda: self.feed.do(command))
        return reply

    async def ask(self, question: m.Question) -> m.Answered:
        replica: Any = SimpleNamespace(engine=self.feed.engine)
        return m.Answered(1, len(self.feed.happened), answer(replica, question))


@dataclass
class Withdrawals:
    """Pays out what it was asked for when it is told to go on, or refuses it."""

    feed: Feed
    refuses: bool = False
    dies: bool = False
    """Whether the process ends, once, right after a request was taken."""
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: dict[str, str] = field(default_factory=dict)

    def apply(self, asked: Mapping[str, Any]) -> None:
        name = asked["withdrawal_id"]
        assert self.asked.setdefault(name, dict(asked)) == asked
        self.statuses.setdefault(name, "asked")
        if self.dies:
            self.dies = False
            raise Killed

    def status(self, withdrawal_id: str) -> str | None:
        return self.statuses.get(withdrawal_id)

    def go_on(self) -> None:
        for name in [name for name, status in self.statuses.items() if status == "asked"]:
            if self.refuses:
                self.statuses[name] = "refused"
                continue
            asked = self.asked[name]
            hold = m.HoldFunds(asked["account"], ETH.id, asked["amount"], f"withdrawal/{name}")
            assert self.feed.do(hold) == m.Done()
            assert self.feed.do(m.SettleHold(f"withdrawal/{name}")) == m.Done()
            self.statuses[name] = "settled"


@dataclass
class Office:
    """Everything a closure meets."""

    client: Any
    bucket: Any
    ledger: psycopg.Connection
    conninfo: str
    feed: Feed
    withdrawals: Withdrawals
    events: list[BusinessEvent] = field(default_factory=list)
    fuse: Fuse = field(default_factory=Fuse)
    now_s: int = NOW
    taken: int = 0
    accounts: int = 0
    on_step: dict[str, Any] = field(default_factory=dict)
    """What happens in the world right after a step, once."""

    @property
    def register(self) -> Register:
        return Register("offboarding", client=Fragile(self.client, self.fuse))

    @property
    def clerk(self) -> Clerk:
        return Clerk(
            register=self.register,
            keys=KeyRing("keys", client=Fragile(self.client, self.fuse)),
            payouts=Payouts(withdrawals=Fragile(self.withdrawals, self.fuse), rules=(RULE,)),
            approvers=OFFBOARDING_APPROVERS,
            retention=Retention(files_years=5, books_years=10),
            publish=lambda event: self.fuse.around(lambda: self.events.append(event)),
            now_s=self.now_s,
        )

    def customer(self, ether: int = ETHER, dollars: int = 0) -> int:
        """Open an account with funds, an order on the book and two keys."""
        self.accounts += 1
        opened = self.feed.do(m.OpenAccount(f"customer-{self.accounts}", 1))
        assert isinstance(opened, m.AccountOpened)
        for asset, amount in ((ETH, ether), (USDT, dollars)):
            if amount:
                self.feed.do(m.Deposit(opened.account, asset.id, amount, f"{asset.name}/{opened.account}"))
        if ether:
            lots = ether // 2 // CATALOGUE.spec(MARKET).lot_units
            placed = self.feed.do(order(opened.account, m.SELL, 500_000, lots, f"c{self.accounts}", market=MARKET.id))
            assert isinstance(placed, m.OrderPlaced), placed
        for number in range(2):
            key = {"api_key": {"S": f"key-{opened.account}-{number}"}, "account_id": {"N": str(opened.account)}}
            self.client.put_item(TableName="keys", Item=key | {"enabled": {"BOOL": True}})
        return opened.account

    def ask(self, name: str, account: int, **changes: Any) -> str:
        fields = {
            "id": name,
            "kind": CLOSURE,
            "account": account,
            "asked_by": "customer-1",
            "initiator": CUSTOMER,
            "details": json.dumps({"payouts": PAYOUTS}),
        }
        Register("offboarding", client=self.client).add(fields | changes, self.now_s)
        return name

    def do(self, function: str, payload: dict[str, Any]) -> dict[str, Any]:
        name = payload["closure_id"]
        if function == "${Broker}":
            assets = {asset.id: asset.name for asset in CATALOGUE.assets}
            broker = Broker(
                register=self.register,
                engine=Core(self.feed, self.fuse),
                assets=assets,
                days_max=2,
                now_s=self.now_s,
            )
            return asyncio.run(broker.do(payload["step"], name))
        if function == "${Writer}":
            cabinet: Any = Fragile(Cabinet(self.bucket), self.fuse)
            writer = Writer(
                register=self.register,
                connection=self.ledger,
                catalogue=CATALOGUE,
                cabinet=cabinet,
                now_s=self.now_s,
            )
            return writer.do(payload["step"], name)
        return self.clerk.do(payload)

    def run(self, name: str, *approvers: int, steps_max: int = 60) -> str:
        """Go the way of the state machine, with its retries; return where it ends."""
        state, last = str(FLOW["StartAt"]), dict[str, Any](outcome="", wait_s=0)
        attempt = self.register.request(name)["attempt"]
        for _ in range(steps_max):
            here = FLOW["States"][state]
            match here["Type"]:
                case "Task":
                    step = here["Parameters"]["Payload"]["step"]
                    payload = {"step": step, "closure_id": name, "attempt": attempt, "token": "t"}
                    try:
                        last = self._retried(here["Parameters"]["FunctionName"], payload)
                        if step == "await-approval":
                            for number in approvers:
                                self.approve(name, number)
                        self.on_step.pop(step, lambda: None)()
                        state = here["Next"]
                    except (StatusError, NotApprovedError):
                        state = "Undecided" if state != "Undecided" else "NotDecided"
                case "Choice":
                    found = [each["Next"] for each in here["Choices"] if each["StringEquals"] == last["outcome"]]
                    state = found[0] if found else here["Default"]
                case "Wait":
                    self.now_s += last["wait_s"]
                    self.withdrawals.go_on()
                    self.catch_up()
                    state = here["Next"]
                case _:
                    return state
        return state

    def _retried(self, function: str, payload: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.do(function, payload)
        except Killed:
            return self.do(function, payload)

    def catch_up(self) -> None:
        """Bring the ledger to where the engine is."""
        if self.taken == len(self.feed.happened):
            return

        async def take() -> None:
            database = await Database.open(self.conninfo)
            async with database.connection:
                await database.take(self.feed.happened[self.taken :])

        asyncio.run(take())
        self.taken = len(self.feed.happened)

    def approval(self, name: str, number: int, until: int | None = None) -> Approval:
        key, ends = APPROVERS[number], until or self.now_s + 600
        text = approval_text(self.register.request(name), ends)
        return Approval(key.public_key().public_bytes_raw().hex(), ends, key.sign(text).hex())

    def approve(self, name: str, number: int) -> None:
        approval = self.approval(name, number)
        check(self.register.request(name), approval, OFFBOARDING_APPROVERS, self.now_s)
        self.register.approve(name, approval.approver, stored(approval))

    def left(self, account: int) -> dict[int, tuple[int, int]]:
        return {
            asset: amounts
            for (owner, asset), amounts in self.feed.balances().items()
            if owner == account and amounts != (0, 0)
        }

    def enabled(self, account: int) -> list[bool]:
        items = self.client.scan(TableName="keys")["Items"]
        return [each["enabled"]["BOOL"] for each in items if each["account_id"]["N"] == str(account)]

    def statements(self, account: int) -> list[str]:
        prefix = f"final-statement-{account}-"
        return [each.key for each in self.bucket.objects.filter(Prefix=prefix) if each.key.endswith(".csv")]

    def of(self, kind: type[BusinessEvent], name: str) -> set[str]:
        return {each.event_id for each in self.events if isinstance(each, kind) and name in each.event_id}


@pytest.fixture
def office(bucket: Any, conninfo: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    client = boto3.client("dynamodb", region_name=REGION)
    client.create_table(
        TableName="offboarding",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    client.create_table(
        TableName="keys",
        KeySchema=[{"AttributeName": "api_key", "KeyType": "HASH"}],
        AttributeDefinitions=[
            {"AttributeName": "api_key", "AttributeType": "S"},
            {"AttributeName": "account_id", "AttributeType": "N"},
        ],
        GlobalSecondaryIndexes=[
            {
                "IndexName": ACCOUNT_INDEX,
                "KeySchema": [{"AttributeName": "account_id", "KeyType": "HASH"}],
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    feed = Feed()
    feed.do(
        m.Configure([asset.id for asset in CATALOGUE.assets], CATALOGUE.specs(), CATALOGUE.tier_specs(), m.RULES_NEWEST)
    )
    with psycopg.connect(conninfo, autocommit=True) as ledger:
        made = Office(client, bucket, ledger, conninfo, feed, Withdrawals(feed))
        made.catch_up()
        yield made


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
def test_a_process_that_ends_anywhere_closes_once_and_loses_nothing(office: Office, *, after: bool) -> None:
    account = office.customer()
    assert office.run(office.ask("closure-whole", account)) == "Closed"
    effects = office.fuse.effects
    assert effects > 12
    for at in range(effects):
        stays, account, name = office.customer(), office.customer(), f"closure-{at:04}"
        office.fuse = Fuse(at, after)
        assert office.run(office.ask(name, account)) == "Closed", at
        assert office.fuse.effects > at
        assert (office.left(account), office.enabled(account)) == ({}, [False, False]), at
        assert [each["amount"] for each in office.withdrawals.asked.values() if each["account"] == account] == [ETHER]
        assert len(office.statements(account)) == 1, at
        assert office.of(AccountClosed, name) == {f"account-closed/{name}"}
        assert office.of(CaseOpened, name) == set()
        assert (office.left(stays) != {}, office.enabled(stays)) == (True, [True, True]), "nobody else is touched"
        office.catch_up()
    assert all(total == 0 for total in _sums(office.feed).values())


def _sums(feed: Feed) -> dict[int, int]:
    sums: dict[int, int] = {}
    for (_, asset), (free, held) in feed.balances().items():
        sums[asset] = sums.get(asset, 0) + free + held
    return sums


def test_the_final_statement_tells_all_and_the_clock_runs_from_the_day_of_closing(office: Office) -> None:
    account = office.customer()
    assert office.run(office.ask("closure-1", account)) == "Closed"
    found = office.register.request("closure-1")
    (key,) = office.statements(account)
    assert found["statement"] == f"s3://{office.bucket.name}/{key}"
    rows = list(csv.DictReader(io.StringIO(office.bucket.Object(key).get()["Body"].read().decode())))
    (moved,) = [row for row in rows if row["kind"] == "movement"]
    one = "1." + "0" * ETH.decimals
    zero = "0." + "0" * ETH.decimals
    assert (moved["asset"], moved["opening"], moved["transfers_in"], moved["transfers_out"], moved["closing"]) == (
        "ETH", zero, one, one, zero,
    )  # fmt: skip
    closed = date.fromisoformat(found["closed_on"])
    assert (found["files_until"], found["books_until"]) == (
        after_years(closed, 5).isoformat(),
        after_years(closed, 10).isoformat(),
    )
    (event,) = [each for each in office.events if isinstance(each, AccountClosed)]
    assert event.retain_until == found["books_until"]
    assert office.register.item(f"clock#{account}")["files_until"] == found["files_until"]


def test_a_statement_waits_for_a_ledger_that_is_behind(office: Office) -> None:
    account = office.customer(ether=0)
    office.catch_up()
    office.feed.do(m.Deposit(account, ETH.id, ETHER, "in"))
    office.feed.do(m.HoldFunds(account, ETH.id, ETHER, "withdrawal/out"))
    office.feed.do(m.SettleHold("withdrawal/out"))
    assert office.run(office.ask("closure-1", account)) == "Closed"
    (key,) = office.statements(account)
    assert "movement,ETH" in office.bucket.Object(key).get()["Body"].read().decode()


def test_an_operators_closure_needs_two_who_did_not_ask(office: Office) -> None:
    asked = {"initiator": OPERATOR, "asked_by": OFFBOARDING_APPROVERS[0]}
    accounts = [office.customer() for _ in range(3)]
    assert office.run(office.ask("closure-none", accounts[0], **asked)) == "NotDecided"
    assert office.run(office.ask("closure-one", accounts[1], **asked), 1) == "NotDecided"
    with pytest.raises(ApprovalError, match="nobody approves what they asked for"):
        office.approve("closure-one", 0)
    assert [office.enabled(each) for each in accounts[:2]] == [[True, True]] * 2
    assert office.run(office.ask("closure-two", accounts[2], **asked), 1, 2) == "Closed"
    assert {each.state for each in office.events if isinstance(each, ClosureChanged) and "two" in each.event_id} == {
        "waiting",
        "frozen",
    }


def test_an_approval_of_another_request_or_after_its_end_does_not_count(office: Office) -> None:
    first, second = (
        office.ask(f"closure-{n}", office.customer(), initiator=OPERATOR, asked_by="operator-9") for n in (1, 2)
    )
    with pytest.raises(ApprovalError, match="not of this request"):
        check(office.register.request(second), office.approval(first, 1), OFFBOARDING_APPROVERS, office.now_s)
    late = office.approval(first, 1, office.now_s + 25 * 3600)
    with pytest.raises(ApprovalError, match="ends within"):
        check(office.register.request(first), late, OFFBOARDING_APPROVERS, office.now_s)
    for number in range(NEEDED):
        office.approve(first, number)
    office.now_s += 601
    with pytest.raises(NotApprovedError, match="2 approvals are needed, 0 count"):
        office.clerk.freeze(first)


def test_what_arrives_after_the_statement_is_paid_out_and_told_in_another_one(office: Office) -> None:
    account = office.customer()
    office.on_step["state"] = lambda: office.feed.do(m.Deposit(account, ETH.id, ETHER, "late"))
    assert office.run(office.ask("closure-1", account)) == "Closed"
    assert office.left(account) == {}
    assert len(office.statements(account)) == 2
    assert [each["amount"] for each in office.withdrawals.asked.values()] == [ETHER, ETHER]


def test_what_came_and_went_after_the_statement_is_in_another_one(office: Office) -> None:
    account = office.customer()

    def comes_and_goes() -> None:
        office.feed.do(m.Deposit(account, ETH.id, ETHER, "late"))
        office.feed.do(m.HoldFunds(account, ETH.id, ETHER, "withdrawal/by-hand"))
        office.feed.do(m.SettleHold("withdrawal/by-hand"))

    office.on_step["state"] = comes_and_goes
    assert office.run(office.ask("closure-1", account)) == "Closed"
    assert len(office.statements(account)) == 2


def test_what_waits_too_long_is_a_case_and_the_same_request_goes_on(office: Office) -> None:
    account = office.customer(dollars=5)
    name = office.ask("closure-1", account)
    assert office.run(name, steps_max=2000) == "NotDecided"
    assert office.of(CaseOpened, name) == {f"closure-undecided/{name}/1"}
    assert list(office.left(account)) == [USDT.id], "what has an address was paid out, the rest is the customer's"
    assert office.enabled(account) == [False, False]
    office.feed.do(m.HoldFunds(account, USDT.id, 5, "withdrawal/by-hand"))
    office.feed.do(m.SettleHold("withdrawal/by-hand"))
    office.ask(name, account)
    assert office.register.request(name)["attempt"] == 2
    assert office.run(name) == "Closed"


def test_a_refused_payout_is_asked_for_again_after_a_day_and_never_what_is_too_small(office: Office) -> None:
    account, dust = office.customer(ether=50 * ETHER), office.customer(ether=0)
    office.feed.do(m.Deposit(dust, ETH.id, RULE.minimum - 1, "dust"))
    office.withdrawals.refuses = True
    name = office.ask("closure-1", account)
    began = office.now_s
    office.run(name, steps_max=400)
    assert len(office.withdrawals.asked) <= 1 + (office.now_s - began) // DAY_S
    assert {each["amount"] for each in office.withdrawals.asked.values()} == {RULE.transaction_max}
    office.withdrawals.refuses = False
    assert office.run(name, steps_max=400) in {"Closed", "NotDecided"}
    before = len(office.withdrawals.asked)
    assert office.run(office.ask("closure-2", dust), steps_max=2000) == "NotDecided"
    assert len(office.withdrawals.asked) == before


def test_a_payout_that_was_asked_for_before_a_crash_is_asked_for_as_it_was(office: Office) -> None:
    """What came meanwhile is in the next one: the same id never stands for two amounts."""
    account = office.customer()
    name = office.ask("closure-1", account)
    office.clerk.freeze(name)
    office.do("${Broker}", {"step": "settle", "closure_id": name})
    office.withdrawals.dies = True
    with pytest.raises(Killed):
        office.clerk.pay_out(name)
    assert len(office.withdrawals.asked) == 1
    office.feed.do(m.Deposit(account, ETH.id, ETHER, "late"))
    office.do("${Broker}", {"step": "settle", "closure_id": name})
    assert office.run(name) == "Closed"
    assert [each["amount"] for each in office.withdrawals.asked.values()] == [ETHER, ETHER]


def test_an_account_has_one_closure_and_what_was_refused_makes_room(office: Office) -> None:
    account = office.customer()
    name = office.ask("closure-1", account)
    office.ask(name, account)  # the very same
    with pytest.raises(StatusError, match="another request has the id closure-1"):
        office.ask(name, account, asked_by="somebody else")
    with pytest.raises(StatusError, match=f"account {account} has the closure closure-1"):
        office.ask("closure-2", account)
    office.clerk.refuse(name)
    office.ask("closure-2", account)
    office.clerk.refuse(name)  # once more, after a crash
    assert office.register.request_of(account) == "closure-2"
    office.clerk.freeze("closure-2")
    with pytest.raises(StatusError, match="cannot be refused"):
        office.clerk.refuse("closure-2")


def test_the_house_and_strangers_cannot_be_closed(office: Office) -> None:
    for account in (m.FEE_ACCOUNT, 999_999):
        assert office.run(office.ask(f"closure-{account}", account)) == "Refused"


def test_a_halted_market_keeps_its_orders_and_the_closure_waits(office: Office) -> None:
    account = office.customer()
    office.feed.do(m.SetMarketStatus(m.ALL_MARKETS, m.HALT))
    name = office.ask("closure-1", account)
    state = office.run(name, steps_max=20)
    assert state not in {"Closed", "NotDecided"}
    office.feed.do(m.SetMarketStatus(m.ALL_MARKETS, m.CANCEL_ONLY))
    assert office.run(name) == "Closed"


def test_clocks_tell_each_end_once_and_never_a_day_early(office: Office) -> None:
    account = office.customer()
    office.run(office.ask("closure-1", account))
    until = date.fromisoformat(office.register.request("closure-1")["files_until"])
    last = int((until - date(1970, 1, 1)).days * DAY_S) + 12 * 3600  # noon in UTC is the same day in Jakarta
    days = (0, 1, 2, 6 * 366, 7 * 366)
    opened = [open_due(office.register, office.events.append, last + day * DAY_S) for day in days]
    files, books = (f"retention-over/{what}/{account}" for what in ("files", "books"))
    assert opened == [[], [files], [], [books], []]


def test_small_rules() -> None:
    assert after_years(date(2024, 2, 29), 5) == date(2029, 3, 1)
    assert after_years(date(2024, 2, 29), 4) == date(2028, 2, 29)
    assert [pause_s(waited) for waited in (0, 100, 10**9)] == [2, 10, 3600]
    assert tuple(key.public_key().public_bytes_raw().hex() for key in APPROVERS) == OFFBOARDING_APPROVERS
