"""From a request to a transaction, through the templates: functions, state machine, engine, enclave, node."""

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from config.environments import DEV
from local import ceremony
from local.simulated_chain import Chain, serve
from runtime.accounts.operations import deposit, open_account
from runtime.shared.engine_link import EngineLink
from runtime.shared.messages import AccountState, AskAccount
from runtime.wallet_enclave.messages import Approval, approval_text
from runtime.wallet_enclave.messages import encode as canonical
from runtime.withdrawals.approvals import LIFE_S_MAX
from tests.local.vault import vault_of
from tests.local.world import World, delivered

WAIT_S = 90.0
BLOCK_S = 1.0
ETHER = 10**8
ETH = DEV.catalogue.asset("ETH").id
FEE = DEV.withdrawals.rules[0].fee
DESTINATION = ceremony.DESTINATIONS[0]


class Miner(threading.Thread):
    """A simulated chain that mines, as fast as a test can wait; two servers stand for the sidecars of its nodes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.chain, self.stopping = Chain(), threading.Event()
        self.servers = [serve(self.chain, 0) for _ in range(2)]

    @property
    def addresses(self) -> str:
        return ",".join(f"127.0.0.1:{each.server_port}" for each in self.servers)

    def run(self) -> None:
        for each in self.servers:
            threading.Thread(target=each.serve_forever, daemon=True).start()
        while not self.stopping.wait(BLOCK_S):
            self.chain.mine()

    def stop(self) -> None:
        self.stopping.set()
        for each in self.servers:
            each.shutdown()
            each.server_close()

    def received(self) -> int:
        """What arrived where withdrawals go, in units of the ledger."""
        return self.chain.balance_of(DESTINATION) // 10**10


class Desk(World):
    """A customer with ether, an enclave and a node."""

    miner: Miner
    account: int

    @property
    def balance(self) -> tuple[int, int]:
        """Free and held ether of the account."""

        async def ask(link: EngineLink) -> Any:
            return (await link.ask(AskAccount(self.account))).answer

        state = self.with_engine(ask)
        assert isinstance(state, AccountState)
        return next((each.free, each.held) for each in state.balances if each.asset == ETH)

    def apply(self, number: int, **changes: Any) -> str:
        asked = {
            "withdrawal_id": f"withdrawal-{number:04}",
            "account": self.account,
            "asked_by": "customer-1",
            "asset": "ETH",
            "chain": "ethereum",
            "destination": DESTINATION,
            "amount": ETHER // 2,
            "receiver": {"name": "Ani", "place": "Jakarta"},
        } | changes
        for _twice in range(2):  # a client may ask again
            assert self.call("Withdrawals/Door", asked) == {"id": asked["withdrawal_id"]}
        return str(asked["withdrawal_id"])

    def item(self, name: str) -> dict[str, Any]:
        table = self.placed("Withdrawals/Register", "AWS::DynamoDB::GlobalTable").ref
        found = self.cloud.client("dynamodb").get_item(TableName=table, Key={"id": {"S": name}}).get("Item", {})
        return {key: next(iter(value.values())) for key, value in found.items()}

    def until(self, name: str, *statuses: str) -> dict[str, Any]:
        """Return a withdrawal's item once it has one of these statuses."""
        deadline = time.monotonic() + WAIT_S
        while (found := self.item(name)).get("status") not in statuses:
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def approval(self, name: str, approver: str, **changes: Any) -> dict[str, Any]:
        """Return an approver's word for the transfer as it stands in the register."""
        transfer, expires_at = self.item(name)["transfer"], int(time.time()) + 600
        digest = hashlib.sha256(transfer.encode()).digest()
        key = ceremony.approver(self.cloud, approver)
        given = {
            "withdrawal_id": name,
            "approver": key.public_key().public_bytes_raw().hex(),
            "expires_at": expires_at,
            "signature": key.sign(approval_text(digest, expires_at)).hex(),
        }
        return given | changes


@pytest.fixture(scope="module")
def world(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    miner = Miner()
    miner.start()
    nodes = {"NODE_ADDRESSES": miner.addresses}
    assembly, folder = exchanges["dev"].folder.parent, tmp_path_factory.mktemp("withdrawals")
    with delivered(Desk, assembly, folder, running=["engine"], variables=nodes) as made:
        vault = vault_of(made.cloud, made.deployment, folder)
        made.miner = miner

        async def fund(link: EngineLink) -> int:
            account = await open_account(link, "ani", DEV.catalogue.tiers[0].id)
            assert await deposit(link, account, ETH, 40 * ETHER, "gift")
            return account

        made.account = made.with_engine(fund)
        with vault.running(vault.prepared()):
            miner.chain.pay(ceremony.hold(made.cloud, vault.table, "hot-1"), 10**21)
            made.call("Withdrawals/Book", {"account": made.account, "chain": "ethereum", "address": DESTINATION})
            entry = {"id": {"S": f"address#{made.account}#ethereum#{DESTINATION}"}, "added_at_s": {"N": "1"}}
            table = made.placed("Withdrawals/Register", "AWS::DynamoDB::GlobalTable").ref
            made.cloud.client("dynamodb").put_item(TableName=table, Item=entry | {"is_screened": {"N": "1"}})
            yield made
    miner.stop()


def test_a_small_withdrawal_is_signed_sent_and_leaves_the_balance_once(world: Desk) -> None:
    free, held = world.balance
    received = world.miner.received()
    name = world.apply(1)
    found = world.until(name, "settled", "refused")
    assert found["status"] == "settled", found
    assert world.balance == (free - ETHER // 2, held)
    assert world.miner.received() == received + ETHER // 2 - FEE
    block = world.miner.chain.blocks[int(found["height"])]
    assert [each.hash for each in block.payments] == [found["transaction_id"]]
    transfer = json.loads(found["transfer"])
    assert (transfer["amount"], transfer["destination"]) == (ETHER // 2 - FEE, DESTINATION)


def test_a_large_one_waits_for_two_approvers_who_did_not_ask(world: Desk) -> None:
    free, held = world.balance
    asker = world.approval("withdrawal-0001", "citra")["approver"]
    name = world.apply(2, amount=2 * ETHER, asked_by=asker)
    deadline = time.monotonic() + WAIT_S
    while "token" not in world.item(name):
        assert time.monotonic() < deadline, world.item(name)
        time.sleep(0.1)
    assert world.balance == (free, held)
    good = world.approval(name, "dewi")
    for wrong, why in (
        (world.approval(name, "citra"), "nobody approves what they asked for"),
        (world.approval("withdrawal-0001", "dewi", withdrawal_id=name), "the signature is not of this transfer"),
        (good | {"expires_at": int(time.time()) + LIFE_S_MAX + 60}, "an approval ends within"),
        (good | {"approver": "00" * 32}, "the key is of no approver"),
    ):
        assert why in world.call("Withdrawals/Approvals", wrong)["errorMessage"]
    for _twice in range(2):
        assert world.call("Withdrawals/Approvals", good) == {"approvals": 1, "needed": 2}
    time.sleep(1)
    assert (world.item(name)["status"], world.balance) == ("prepared", (free, held))
    assert world.call("Withdrawals/Approvals", world.approval(name, "eko")) == {"approvals": 2, "needed": 2}
    assert world.until(name, "settled", "refused")["status"] == "settled"
    assert world.balance == (free - 2 * ETHER, held)


@pytest.mark.parametrize(
    ("number", "change", "reasons"),
    [
        (10, {"destination": ceremony.DESTINATIONS[1]}, ["address-unknown"]),
        (11, {"amount": 1}, ["below-minimum"]),
        (12, {"receiver": None}, ["receiver-name-missing", "receiver-place-missing"]),
        (13, {"asset": "BTC", "chain": "bitcoin"}, ["asset-not-withdrawable"]),
        (14, {"account": 999_999}, ["address-unknown"]),
    ],
)
def test_what_is_refused_changes_no_balance_and_says_why(
    world: Desk, number: int, change: dict[str, Any], reasons: list[str]
) -> None:
    before, received = world.balance, world.miner.received()
    found = world.until(world.apply(number, **change), "refused", "settled")
    assert (found["status"], json.loads(found["reasons"])) == ("refused", reasons)
    assert (world.balance, world.miner.received()) == (before, received)


def test_what_the_signer_refuses_is_refunded_and_its_number_used_again(world: Desk) -> None:
    """The customer's book has the address, the quorum's manifest has not: the enclave decides."""
    table = world.placed("Withdrawals/Register", "AWS::DynamoDB::GlobalTable").ref
    stranger = "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"
    entry = {"id": {"S": f"address#{world.account}#ethereum#{stranger}"}, "added_at_s": {"N": "1"}}
    world.cloud.client("dynamodb").put_item(TableName=table, Item=entry | {"is_screened": {"N": "1"}})
    before = world.balance
    refused = world.until(world.apply(20, destination=stranger), "refused", "settled")
    assert json.loads(refused["reasons"]) == ["signer-refused"]
    assert "not on the manifest's list" in refused["words"]
    assert world.balance == before
    following = world.until(world.apply(21), "settled", "refused")
    assert following["status"] == "settled"
    assert json.loads(following["transfer"])["nonce"] == json.loads(refused["transfer"])["nonce"]


def test_another_execution_takes_up_what_one_has_left(world: Desk) -> None:
    """As after a machine's restart, which forgets executions, or when a person starts one again."""
    name, flow = world.apply(30), world.placed("Withdrawals/FlowMachine", "AWS::StepFunctions::StateMachine").ref
    states = world.cloud.client("stepfunctions")
    world.until(name, "sent")
    states.stop_execution(executionArn=f"{flow.replace(':stateMachine:', ':execution:')}:{name}")
    time.sleep(1)
    states.start_execution(stateMachineArn=flow, name=f"{name}-again", input=json.dumps({"withdrawal_id": name}))
    found = world.until(name, "settled", "refused")
    assert found["status"] == "settled", found
    block = world.miner.chain.blocks[int(found["height"])]
    assert [each.hash for each in block.payments] == [found["transaction_id"]]


def test_an_approval_is_kept_in_the_form_that_the_enclave_reads(world: Desk) -> None:
    kept = [value for name, value in world.item("withdrawal-0002").items() if name.startswith("approval#")]
    assert len(kept) == 2
    for text in kept:
        assert canonical(msgspec.json.decode(text, type=Approval)).decode() == text


def test_who_receives_is_in_no_log(world: Desk) -> None:
    folder = world.folder / "logs"
    text = "\n".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "withdrawal-0001" in text
    for secret in ("Ani", "Jakarta", DESTINATION):
        assert secret not in text
