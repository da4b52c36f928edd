"""From blocks to balances: every deposit counts once, whatever ends the watcher and whatever the chain does."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.simulated_chain import Chain
from runtime.chain.follower import DISAGREEMENT_S, Follower, Parts
from runtime.chain.readers import AssetOnChain, EthereumReader
from runtime.chain.rpc import NodeError, Rpc
from runtime.chain.store import Addresses, Deposits, StoreBrokenError
from runtime.shared.business_events import (
    BusinessEvent,
    CaseOpened,
    ChainDisagreed,
    DepositCredited,
    DepositReversed,
    DepositSeen,
)
from runtime.shared.catalogue import Asset
from runtime.shared.ethereum import checksummed

ALICE, STRANGER = checksummed(b"\xa1" * 20), checksummed(b"\x57" * 20)
TOKEN, FAKE_TOKEN = checksummed(b"\x70" * 20), checksummed(b"\xf0" * 20)
ACCOUNT = 7
ETHER = 10**18
UNIT = 10**10
"""Wei in one unit of the exchange's eight decimals."""
ASSETS = (
    AssetOnChain(name="ETH", decimals=18, confirmations=3),
    AssetOnChain(name="USDT", decimals=6, confirmations=2, contract=TOKEN),
)
LISTED = {
    "ETH": Asset(id=2, name="ETH", title="Ether", decimals=8),
    "USDT": Asset(id=3, name="USDT", title="Tether USD", decimals=8),
}


class KilledError(BaseException):
    """The process ends here."""


class Direct(Rpc):
    """A node without a wire."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.is_down = False

    async def call(self, method: str, *params: object) -> Any:
        if self.is_down:
            raise NodeError("down")
        return self.chain.answer(method, list(params))


class Deathly:
    """Counts what reaches the outside, and ends the process before or after one such call."""

    def __init__(self, at: int | None) -> None:
        self.calls = 0
        self.at = at

    def passes(self, call: Callable[[], Any]) -> Any:
        self.calls += 1
        if self.calls * 2 == self.at:
            raise KilledError
        result = call()
        if self.calls * 2 + 1 == self.at:
            raise KilledError
        return result


class World:
    """A chain with two nodes, tables, an exchange that refuses a reference it has seen, and a bus."""

    def __init__(self, dynamodb: Any, death: int | None = None) -> None:
        self.chain = Chain(clock=lambda: 0.0)
        self.nodes = {"x86": Direct(self.chain), "arm": Direct(self.chain)}
        self.death = Deathly(death)
        self.addresses = Addresses("addresses", dynamodb)
        self.deposits = Deposits("deposits", "ethereum", _Watched(dynamodb, self.death))
        self.addresses.issue("ethereum", ALICE, ACCOUNT)
        self.balances: Counter[tuple[int, int]] = Counter()
        self.references: set[str] = set()
        self.events: list[BusinessEvent] = []
        self.follower: Follower | None = None

    async def credit(self, account: int, asset: int, units: int, reference: str) -> bool:
        def credited() -> bool:
            if reference in self.references:
                return False
            self.references.add(reference)
            self.balances[account, asset] += units
            return True

        return bool(self.death.passes(credited))

    def publish(self, event: BusinessEvent) -> None:
        self.death.passes(lambda: self.events.append(event))

    def run(self) -> None:
        """Follow the chain to its end; a killed process is started again."""
        for _ in range(50):
            try:
                asyncio.run(self._run())
            except KilledError:
                self.follower = None
            else:
                return
        pytest.fail("the watcher does not come to an end")

    def restart(self) -> None:
        self.follower = None
        self.run()

    async def _run(self) -> None:
        if self.follower is None:
            parts = Parts(
                chain="ethereum",
                readers={name: EthereumReader(rpc, ASSETS) for name, rpc in self.nodes.items()},
                assets={asset.name: asset for asset in ASSETS},
                exchange_assets=LISTED,
                addresses=self.addresses,
                deposits=self.deposits,
                credit=self.credit,
                publish=self.publish,
            )
            follower = Follower(parts)
            await follower.resume()
            self.follower = follower
        while await self.follower.step():
            pass

    def told(self, kind: type[BusinessEvent]) -> set[str]:
        """Return ids of the events of one kind: told twice is told once."""
        return {event.event_id for event in self.events if isinstance(event, kind)}

    def ether(self) -> int:
        return self.balances[ACCOUNT, 2]


class _Watched:
    """A DynamoDB client whose writes can be the last thing that a process does."""

    def __init__(self, client: Any, death: Deathly) -> None:
        self._client, self._death = client, death

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name not in {"put_item", "transact_write_items"}:
            return call
        return lambda **given: self._death.passes(lambda: call(**given))


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "unchecked")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="ap-southeast-3")
        for table, key in (("addresses", "address"), ("deposits", "id")):
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        yield client


def test_a_transfer_is_credited_after_its_confirmations_and_once(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.pay(ALICE, 3 * ETHER)
    world.chain.pay(STRANGER, ETHER)
    for expected in (0, 0, 3 * 10**8, 3 * 10**8):
        world.chain.mine()
        world.run()
        assert world.ether() == expected
    assert len(world.told(DepositSeen)) == len(world.told(DepositCredited)) == 1
    (event,) = [each for each in world.events if isinstance(each, DepositCredited)]
    assert (event.account_id, event.asset, event.amount) == (ACCOUNT, "ETH", str(3 * 10**8))


def test_two_payments_in_one_block_and_the_part_below_a_unit(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.pay(ALICE, 5 * UNIT + 9)
    world.chain.pay(ALICE, UNIT - 1)
    world.chain.pay(ALICE, 2 * UNIT)
    world.chain.mine(3)
    world.run()
    assert world.ether() == 7
    assert len(world.references) == 2


def test_tokens_count_by_the_events_of_listed_contracts_alone(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.pay(ALICE, 5_000_000, contract=TOKEN)
    world.chain.pay(ALICE, 9_000_000, contract=FAKE_TOKEN)
    world.chain.pay(ALICE, 7_000_000, contract=TOKEN, succeeds=False)
    world.chain.pay(ALICE, ETHER, succeeds=False)
    world.chain.mine(3)
    world.run()
    assert dict(world.balances) == {(ACCOUNT, 3): 5 * 10**8}


def test_a_reorganization_before_the_confirmations_takes_the_deposit_away(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.pay(ALICE, ETHER)
    world.chain.mine(2)
    world.run()
    world.chain.reorganize(2)
    world.chain.mine(5)
    world.restart()
    assert world.ether() == 0
    (event,) = [each for each in world.events if isinstance(each, DepositReversed)]
    assert not event.credited
    assert not world.told(CaseOpened)


def test_a_deposit_that_comes_back_is_credited_once(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.pay(ALICE, ETHER)
    world.chain.pay(ALICE, 4_000_000, contract=TOKEN)
    world.chain.mine(1)
    world.run()
    world.chain.reorganize(1, keep=True)
    world.run()
    world.chain.mine(5)
    world.restart()
    assert dict(world.balances) == {(ACCOUNT, 2): 10**8, (ACCOUNT, 3): 4 * 10**8}


def test_what_leaves_the_chain_after_its_credit_is_frozen_and_opens_a_case(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    transaction = world.chain.pay(ALICE, ETHER)
    world.chain.mine(4)
    world.run()
    world.chain.reorganize(4)
    world.restart()
    assert world.ether() == 10**8, "a balance is never turned back in silence"
    (case,) = {each.case_id: each for each in world.events if isinstance(each, CaseOpened)}.values()
    assert (case.kind, case.severity, case.account_ids) == ("deposit-orphaned", "high", (ACCOUNT,))
    (event,) = [each for each in world.events if isinstance(each, DepositReversed)]
    assert event.credited
    known = world.deposits.deposit(f"{transaction}:value")
    assert known is not None
    assert known.status == "frozen"
    world.restart()
    assert len(world.told(CaseOpened)) == 1


def scenario(world: World) -> None:
    """Two deposits, one of them lost to a reorganization, one that comes back in another block."""
    world.run()
    world.chain.pay(ALICE, ETHER)
    world.chain.mine(2)
    world.run()
    world.chain.reorganize(2, keep=True)
    world.run()
    world.chain.mine(3)
    world.run()
    world.chain.pay(ALICE, 2 * ETHER)
    world.chain.mine(1)
    world.run()
    world.chain.reorganize(1)
    world.chain.pay(ALICE, 4 * ETHER)
    world.chain.mine(4)
    world.run()


KILLS = range(2, 100)


@pytest.mark.parametrize("at", [pytest.param(at, marks=() if at % 9 == 2 else pytest.mark.soak) for at in KILLS])
def test_a_watcher_killed_around_any_of_its_writes_credits_once(dynamodb: Any, at: int) -> None:
    world = World(dynamodb, death=at)
    scenario(world)
    assert world.ether() == 5 * 10**8
    assert len(world.references) == 2
    assert len(world.told(DepositCredited)) == 2
    assert len(world.told(CaseOpened)) == 0


def test_the_kills_reach_every_write(dynamodb: Any) -> None:
    world = World(dynamodb)
    scenario(world)
    assert 30 < world.death.calls < len(KILLS) / 2, "each call can be killed before and after"


def test_a_credit_that_was_begun_is_finished_though_its_block_left_meanwhile(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.pay(ALICE, ETHER)
    world.chain.mine(2)
    world.run()
    world.death.at = world.death.calls * 2 + 4  # after "crediting" is written, before the engine is asked
    world.chain.mine(1)
    with pytest.raises(KilledError):
        asyncio.run(world._run())
    assert world.ether() == 0
    world.chain.reorganize(3)
    world.restart()
    assert world.ether() == 10**8
    assert len(world.told(CaseOpened)) == 1, "what was begun is finished, and then told to people"


def test_nothing_is_credited_while_nodes_disagree(dynamodb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(dynamodb)
    world.run()
    other = Chain(clock=lambda: 1.0)
    world.chain.pay(ALICE, ETHER)
    world.chain.mine(5)
    other.mine(5)
    world.nodes["arm"].chain = other
    now = [0.0]
    monkeypatch.setattr("runtime.chain.follower.time.monotonic", lambda: now[0])
    world.run()
    now[0] = DISAGREEMENT_S + 1
    world.run()
    assert world.ether() == 0
    (event,) = [each for each in world.events if isinstance(each, ChainDisagreed)]
    assert event.nodes == ("arm", "x86")
    world.nodes["arm"].chain = world.chain
    world.run()
    assert world.ether() == 10**8


def test_one_node_alone_is_not_believed(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.pay(ALICE, ETHER)
    world.chain.mine(5)
    world.nodes["arm"].is_down = True
    with pytest.raises(NodeError, match="1 of 2 nodes answer; 2 must"):
        asyncio.run(world._run())
    world.nodes["arm"].is_down = False
    world.run()
    assert world.ether() == 10**8


def test_a_node_that_lags_holds_the_watcher_back_and_does_no_harm(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.mine(10)
    world.run()
    behind = Chain(clock=lambda: 0.0)
    behind.mine(8)
    world.nodes["arm"].chain = behind
    world.run()
    assert world.deposits.blocks()[-1].height == 10


def test_a_store_that_contradicts_itself_is_not_begun_anew(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.chain.mine(2)
    world.run()
    dynamodb.delete_item(TableName="deposits", Key={"id": {"S": "block/ethereum/2"}})
    with pytest.raises(StoreBrokenError, match="is not stored"):
        world.deposits.blocks()


def test_a_long_absence_is_caught_up_with(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.run()
    world.chain.mine(10)
    world.chain.pay(ALICE, ETHER)
    world.chain.mine(250)
    world.restart()
    assert world.ether() == 10**8


def test_an_address_has_one_owner(dynamodb: Any) -> None:
    world = World(dynamodb)
    world.addresses.issue("ethereum", ALICE, ACCOUNT)
    with pytest.raises(ValueError, match="another account"):
        world.addresses.issue("ethereum", ALICE, ACCOUNT + 1)


def test_an_address_that_is_not_the_accounts_own_counts_for_nobody(dynamodb: Any) -> None:
    """Whoever may write to the table of addresses gains nothing by naming a rich stranger's."""
    world = World(dynamodb)
    own = {ACCOUNT: ALICE, ACCOUNT + 1: checksummed(b"\xb0" * 20)}
    checked = Addresses(world.addresses._table, dynamodb, address_of=own.__getitem__)
    world.addresses.issue("ethereum", STRANGER, ACCOUNT + 1)
    assert world.addresses.owners("ethereum", [ALICE, STRANGER]) == {ALICE: ACCOUNT, STRANGER: ACCOUNT + 1}
    assert checked.owners("ethereum", [ALICE, STRANGER]) == {ALICE: ACCOUNT}
