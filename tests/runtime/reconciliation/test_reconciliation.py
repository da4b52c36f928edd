"""Ledger against chain: a real ledger, tables, a simulated chain with two nodes. One wei that is missing shows."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import boto3
import psycopg
import pytest
from moto import mock_aws

from config.environments import DEV
from config.markets import CATALOGUE
from local.simulated_chain import Chain
from runtime.chain.deposits import Transfer
from runtime.chain.readers import AssetOnChain
from runtime.chain.rpc import NodeError, Rpc
from runtime.chain.store import Deposit, Deposits, Status
from runtime.reconciliation.handler import ROUNDS, compared
from runtime.reconciliation.rules import Scale, Terms, TierRule, lasting, short, tier_of, uncredited
from runtime.reconciliation.sources import NodesApartError, Sources
from runtime.shared.business_events import BusinessEvent, CaseOpened
from runtime.shared.ethereum import checksummed
from runtime.shared.messages import Deposit as Credit
from runtime.shared.messages import HoldFunds, SettleHold
from runtime.wallet_enclave.ethereum import address, derived, signed_transfer
from runtime.withdrawals.register import FINAL, SENT, Register
from tests.runtime.custody import vault
from tests.runtime.ledger.feeds import ANA, Database, funded_feed

ETH, USDT = CATALOGUE.asset("ETH"), CATALOGUE.asset("USDT")
WEI = 10**10
"""In a unit of the ledger."""
OWED = 2 * 10**15
"""Units of each asset that the feed's two accounts hold."""
CONFIRMATIONS = 3
TOKEN = checksummed(b"\x70" * 20)
CUSTOMER, STRANGER = checksummed(b"\xa1" * 20), "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
HOT = derived(b"a seed of tests")
COLD = checksummed(b"\xc0" * 20)
ASSETS = (
    AssetOnChain(name="ETH", decimals=18, confirmations=CONFIRMATIONS),
    AssetOnChain(name="USDT", decimals=6, confirmations=2, contract=TOKEN),
)
NOW = 1_800_000_000


class Node(Rpc):
    """A node without a wire."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.is_there = True

    async def call(self, method: str, *params: object) -> Any:
        if not self.is_there:
            raise NodeError("no answer")
        return self.chain.answer(method, list(params))


class World:
    """Books and coins that match, until a test moves one of them."""

    def __init__(self, conninfo: str, client: Any) -> None:
        self.conninfo, self.client = conninfo, client
        self.chain, self.feed = Chain(), funded_feed()
        self.nodes = [Node(self.chain), Node(self.chain)]
        self.deposits = Deposits("deposits", "ethereum", client)
        self.register = Register("withdrawals", client=client)
        # 10^15 units are 10^13 of the token's own, which has two decimals less than the ledger's.
        self.chain.pay(address(HOT), OWED * WEI // 2)
        self.chain.pay(COLD, OWED * WEI // 2)
        self.chain.pay(COLD, OWED // 100, contract=TOKEN)
        self.chain.mine(CONFIRMATIONS)

    def differences(self) -> dict[str, int]:
        return {terms.asset: terms.difference for terms in self.read()}

    def read(self) -> list[Terms]:
        async def write() -> None:
            database = await Database.open(self.conninfo)
            async with database.connection:
                await database.take(self.feed.happened[database.position :])

        asyncio.run(write())
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            sources = Sources(
                chain="ethereum",
                assets=ASSETS,
                wallets={"hot-1": address(HOT), "cold-1": COLD},
                nodes=self.nodes,
                connection=connection,
                catalogue=CATALOGUE,
                register=self.register,
                deposits=self.deposits,
            )
            return sources.read()

    def received(self, amount: int, status: Status, *, units: int = 0, mined: int = CONFIRMATIONS) -> str:
        """Let a customer pay in, and the watcher have it in this state; return the block."""
        place = self.chain.pay(CUSTOMER, amount)
        block = self.chain.mine(1).hash
        if mined > 1:
            self.chain.mine(mined - 1)
        transfer = Transfer(place=f"{place}:value", asset="ETH", address=CUSTOMER, amount=amount)
        self.deposits.put(
            Deposit(chain="ethereum", transfer=transfer, status=status, block=block, account=ANA, units=units), 1
        )
        return block

    def pay_out(self, number: int, units: int) -> None:
        """Send a transfer of the hot wallet to the chain."""
        wanted = vault.withdrawal(nonce=number, destination=STRANGER, amount=units)
        self.chain.send(signed_transfer(HOT, wanted, vault.rule())[0].hex())
        self.chain.mine(CONFIRMATIONS)

    def count(self, name: str, units: int, fee: int) -> None:
        """Let the clerk note a transfer as final."""
        item = {"id": {"S": name}, "status": {"S": SENT}, "chain": {"S": "ethereum"}, "asset": {"S": "ETH"}}
        self.client.put_item(TableName="withdrawals", Item=item)
        for _twice in range(2):  # a step may come again
            self.register.final(name, FINAL, {"height": 1}, paid=units, network_fee=fee)

    def settle(self, name: str, units: int, fee: int) -> None:
        """Let the teller take it out of the ledger; the house keeps its fee there."""
        self.feed.do(HoldFunds(ANA, ETH.id, units + fee, f"withdrawal/{name}"))
        self.feed.do(SettleHold(f"withdrawal/{name}", fee))


@pytest.fixture
def world(conninfo: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name=DEV.region)
        for table in ("deposits", "withdrawals"):
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        yield World(conninfo, client)


MATCH = {"ETH": 0, "USDT": 0}


def test_a_withdrawal_matches_at_each_point_of_its_way_and_a_theft_of_one_unit_shows(world: World) -> None:
    assert world.differences() == MATCH
    units, fee, gas = 10**6, 10**5, 21_000 * 2 * 10**9
    world.pay_out(0, units)
    assert world.differences()["ETH"] == -(units * WEI + gas), "nobody has noted it yet"
    world.count("withdrawal-0001", units, gas)
    assert world.differences() == MATCH
    world.settle("withdrawal-0001", units, fee)
    assert world.differences() == MATCH
    world.pay_out(1, 1)
    assert world.differences() == {"ETH": -(WEI + gas), "USDT": 0}


def test_what_is_received_matches_in_every_state_and_only_a_reversed_credit_is_missing(world: World) -> None:
    world.received(5 * WEI + 7, "credited", units=5)
    world.feed.do(Credit(ANA, ETH.id, 5, "ethereum/one"))
    world.received(3, "dust")
    world.received(4 * WEI, "refused", units=4)
    world.received(6 * WEI, "pending", units=6)
    assert world.differences() == MATCH
    world.received(8 * WEI, "pending", units=8, mined=1)  # in a block above the one that is read
    assert world.differences() == MATCH
    world.received(9 * WEI, "orphaned", units=9)
    assert world.differences()["ETH"] == 9 * WEI, "the watcher says that it is not there, and it is"
    world.chain.reorganize(CONFIRMATIONS)
    world.chain.mine(CONFIRMATIONS)
    world.received(WEI, "frozen", units=1)
    world.feed.do(Credit(ANA, ETH.id, 1, "ethereum/two"))
    world.chain.reorganize(CONFIRMATIONS)
    world.chain.mine(CONFIRMATIONS)
    assert world.differences()["ETH"] == -WEI


def test_a_credit_that_the_chain_does_not_know_is_missing(world: World) -> None:
    world.feed.do(Credit(ANA, USDT.id, 1, "out of nothing"))
    assert world.differences() == {"ETH": 0, "USDT": -1}


def test_nothing_is_said_on_one_nodes_word(world: World) -> None:
    world.nodes[1].is_there = False
    with pytest.raises(NodesApartError, match="1 nodes answer, 2 are needed"):
        world.differences()
    other = Chain()
    other.pay(address(HOT), OWED * WEI)
    other.mine(CONFIRMATIONS)
    world.nodes[1] = Node(other)
    with pytest.raises(NodesApartError, match=r"holds .* or "):
        world.differences()


RULE = TierRule(hot_bips_max=3_000, cold_bips_min=5_001)


def terms(difference: int, asset: str = "ETH", *, to_customers: int = 90) -> Terms:
    return Terms(
        asset=asset,
        height=7,
        by_tier={"hot": 5, "warm": 0, "cold": 95 + difference},
        in_ledger=100,
        uncredited=0,
        unsettled=0,
        network_fees=0,
        to_customers=to_customers,
    )


def test_money_on_its_way_is_no_difference_and_what_lasts_is_told_once_a_day() -> None:
    def run(*differences: int) -> tuple[list[int], list[BusinessEvent], int]:
        left, told, pauses = list(differences), list[BusinessEvent](), list[float]()
        found = compared(
            lambda: [terms(left.pop(0)), terms(0, "USDT")],
            tiers=RULE,
            publish=told.append,
            pause=pauses.append,
            now_s=NOW,
        )
        return [each.difference for each in found], told, len(pauses)

    assert run(0) == ([], [], 0)
    assert run(-5, 0) == ([], [], 1)
    assert run(-5, 3, -5, -5, -5) == ([], [], ROUNDS - 1)
    found, told, _ = run(-5, -9, -6, -5, -7)
    assert found == [-5], "what is missing under the traffic"
    (case,) = told
    assert isinstance(case, CaseOpened)
    assert (case.kind, case.severity, case.case_id) == ("ledger-apart", "high", f"ledger-apart/ETH/{NOW // 86_400}")
    assert '"difference": "-5"' in case.evidence
    assert run(-5, -5, -5, -5, -5)[1] == run(-5, -6, -5, -5, -5)[1], "the same case, which its readers know"


def test_amounts_are_compared_in_the_finer_unit() -> None:
    ether, token = Scale(chain=18, ledger=8), Scale(chain=6, ledger=8)
    assert (ether.of_chain(1), ether.of_ledger(1)) == (1, WEI)
    assert (token.of_chain(1), token.of_ledger(1)) == (100, 1)
    assert lasting([[replace(terms(1), asset="a")], [terms(-1)]]) == []
    assert uncredited([], ether, is_mined={}) == 0


def test_reserves_are_held_against_what_customers_are_owed_and_not_against_the_house() -> None:
    enough = terms(-10)
    assert (enough.owed, enough.is_short, enough.reserve_ppm) == (90, False, 1_000_000)
    one_less = terms(-11)
    assert (one_less.is_short, one_less.reserve_ppm) == (True, 988_888)
    moving = replace(terms(0), uncredited=20, unsettled=5)
    assert (moving.owed, moving.is_short) == (105, True)
    assert replace(terms(0), to_customers=0).reserve_ppm is None


def test_what_is_short_is_decided_by_exact_rounds_and_else_by_all() -> None:
    def found(*rounds: Terms) -> list[Terms]:
        return short([[each] for each in rounds])

    spent = terms(0, to_customers=101)
    assert found(spent) == [spent], "the coins match the ledger, whose house is below zero"
    assert found(terms(-20), terms(0)) == [], "money was on its way"
    assert found(terms(20), spent) == [spent], "the first round was not exact"
    assert found(terms(-20), terms(-30), terms(-25)) == [terms(-25)]
    assert found(terms(-20), terms(-5), terms(-20)) == []


def test_a_reserve_that_is_short_is_one_case_an_hour(capsys: pytest.CaptureFixture[str]) -> None:
    def run(now_s: int) -> list[CaseOpened]:
        told = list[BusinessEvent]()
        compared(
            lambda: [terms(0, to_customers=125)], tiers=RULE, publish=told.append, pause=lambda _s: None, now_s=now_s
        )
        return [each for each in told if isinstance(each, CaseOpened)]

    (first,), (later,), (next_hour,) = run(7_200), run(10_799), run(10_800)
    assert (first.kind, first.severity) == ("reserve-short", "critical")
    assert '"owed": "125"' in first.evidence
    assert first.event_id == later.event_id != next_hour.event_id
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "ReservePpm" in line]
    assert [(line["Asset"], line["ReservePpm"]) for line in lines] == [("ETH", [800_000.0])] * 3


def test_the_ledger_tells_customers_apart_from_the_house(world: World) -> None:
    world.settle("withdrawal-0001", 10**6, 10**5)
    world.pay_out(0, 10**6)
    world.count("withdrawal-0001", 10**6, 21_000 * 2 * 10**9)
    assert world.differences() == MATCH
    (ether, _token) = world.read()
    assert ether.in_ledger - ether.to_customers == 10**5 * WEI, "the house has its fee"
    assert not ether.is_short


def spread(hot: int, warm: int, cold: int, asset: str = "ETH") -> Terms:
    """Return terms without a difference, so held."""
    held = {"hot": hot, "warm": warm, "cold": cold}
    return replace(terms(0, asset), by_tier=held, in_ledger=hot + warm + cold, to_customers=hot + warm + cold)


def test_shares_of_tiers_are_judged_to_the_last_unit() -> None:
    whole = 10**18
    at_the_bound = spread(whole * 3, 0, whole * 7)
    assert not RULE.is_too_hot(at_the_bound)
    one_more = spread(whole * 3 + 1, 0, whole * 7)
    assert RULE.is_too_hot(one_more)
    assert one_more.share_bips("hot") == 3_000, "a graph is rounded, what is decided is not"
    mostly_warm = spread(0, 4_999, 5_001)
    assert not RULE.is_not_cold(mostly_warm)
    assert RULE.is_not_cold(spread(0, 5_000, 5_000))
    nothing = spread(0, 0, 0)
    assert (nothing.share_bips("hot"), RULE.is_too_hot(nothing), RULE.is_not_cold(nothing)) == (None, False, False)
    with pytest.raises(ValueError, match="must begin with hot, warm, cold, was 'lukewarm-1'"):
        tier_of("lukewarm-1")


def test_the_share_of_each_tier_is_put_and_what_is_too_hot_is_counted_and_named(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    held = [spread(31, 9, 60), spread(2, 48, 50, "USDT"), spread(0, 0, 0, "NONE")]
    compared(lambda: held, tiers=RULE, publish=lambda _case: None, pause=lambda _s: None, now_s=NOW)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shares = {(line["Asset"], line["Tier"]): line["TierShareBips"] for line in lines if "TierShareBips" in line}
    assert shares == {
        **{("ETH", tier): [share] for tier, share in (("hot", 3_100), ("warm", 900), ("cold", 6_000))},
        **{("USDT", tier): [share] for tier, share in (("hot", 200), ("warm", 4_800), ("cold", 5_000))},
    }
    told = [vars(record) for record in caplog.records]
    (end,) = [each for each in told if each["msg"] == "reconciled"]
    assert (end["assets_too_hot"], end["assets_not_cold"]) == (1, 1)
    named = {each["msg"]: each["asset"] for each in told if each["levelname"] == "WARNING"}
    assert named == {"hot wallets hold too much": "ETH", "cold wallets hold too little": "USDT"}


def test_what_customers_pay_in_is_hot_until_somebody_moves_it(world: World) -> None:
    before, _token = world.read()
    assert before.share_bips("hot") == before.share_bips("cold") == 5_000
    world.received(OWED * WEI, "pending", units=OWED)
    ether, token = world.read()
    assert (ether.by_tier["hot"], ether.by_tier["cold"]) == (OWED * WEI * 3 // 2, OWED * WEI // 2)
    assert ether.share_bips("hot") == 7_500
    assert token.share_bips("cold") == 10_000
