"""From a request to a closed account, through the templates: functions, state machines, engine, ledger, withdrawals."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from config.environments import DEV
from runtime.accounts.keys import KeyStore, new_hmac_key, store_api_key
from runtime.accounts.operations import deposit, open_account
from runtime.offboarding.approvals import approval_text
from runtime.shared.engine_link import EngineLink
from runtime.shared.hand_over import ACCOUNTS, MANIFEST, reconcile
from runtime.shared.messages import (
    BUY,
    GTC,
    LIMIT,
    AccountState,
    AskAccount,
    AskOpenOrders,
    HoldFunds,
    OrderPlaced,
    PlaceOrder,
    SettleHold,
)
from tests.local.world import World, delivered

WAIT_S = 120.0
USDT = DEV.catalogue.asset("USDT")
DOLLAR = 10**USDT.decimals
MARKET = next(each for each in DEV.catalogue.markets if (each.base, each.quote) == ("BTC", "USDT"))
SEEDS = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
)
"""Test vectors of RFC 8032, which the configuration of dev has as its first two approvers."""


class Desk(World):
    """Customers, and those who close their accounts."""

    def item(self, name: str) -> dict[str, Any]:
        table = self.placed("Offboarding/Register", "AWS::DynamoDB::GlobalTable").ref
        found = self.cloud.client("dynamodb").get_item(TableName=table, Key={"id": {"S": name}}).get("Item", {})
        return {key: next(iter(value.values())) for key, value in found.items()}

    def until(self, done: Callable[[dict[str, Any]], bool], name: str) -> dict[str, Any]:
        deadline = time.monotonic() + WAIT_S
        while not done(found := self.item(name)):
            assert time.monotonic() < deadline, found
            time.sleep(0.1)
        return found

    def customer(self, name: str) -> tuple[int, str]:
        """Open an account with dollars, one order on the book and an API key; return its id and the key's name."""

        async def fund(link: EngineLink) -> int:
            account = await open_account(link, name, DEV.catalogue.tiers[0].id)
            assert await deposit(link, account, USDT.id, 1_000 * DOLLAR, f"gift/{name}")
            lots = MARKET_SPEC.min_lots * 1_000
            order = PlaceOrder(account, MARKET.id, BUY, LIMIT, GTC, MARKET.ticks("1000"), lots, 0, f"order-{name}")
            placed = (await link.send(order)).reply
            assert isinstance(placed, OrderPlaced), placed
            return account

        account: int = self.with_engine(fund)
        key = new_hmac_key()
        store_api_key(self.keys, key, account=account, tier="standard", label="test", created_us=1)
        return account, key.api_key

    @property
    def keys(self) -> KeyStore:
        table = self.placed("Data/ApiKeysTable", "AWS::DynamoDB::GlobalTable").ref
        secrets = self.placed("Foundation/KeysApiSecrets", "AWS::KMS::Key").ref
        return KeyStore(
            table=table,
            kms_key=secrets,
            dynamodb=self.cloud.client("dynamodb"),
            kms=self.cloud.client("kms"),
        )

    def is_enabled(self, api_key: str) -> bool:
        table = self.keys.table
        item = self.cloud.client("dynamodb").get_item(TableName=table, Key={"api_key": {"S": api_key}})["Item"]
        return bool(item["enabled"]["BOOL"])

    def open_orders(self, account: int) -> int:
        async def ask(link: EngineLink) -> int:
            answer: Any = (await link.ask(AskOpenOrders(account, -1))).answer
            return len(answer.orders)

        count: int = self.with_engine(ask)
        return count

    def pay_out_by_hand(self, account: int, name: str) -> None:
        """Take everything out, as the withdrawals of a customer would."""

        async def pay(link: EngineLink) -> None:
            state = (await link.ask(AskAccount(account))).answer
            assert isinstance(state, AccountState)
            for each in state.balances:
                if each.free:
                    await link.send(HoldFunds(account, each.asset, each.free, f"withdrawal/{name}/{each.asset}"))
                    await link.send(SettleHold(f"withdrawal/{name}/{each.asset}"))

        self.with_engine(pay)

    def approval(self, name: str, number: int) -> dict[str, Any]:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEEDS[number]))
        found, expires_at = self.item(name), int(time.time()) + 600
        text = approval_text(found | {"account": int(found["account"])}, expires_at)
        return {
            "request_id": name,
            "approver": key.public_key().public_bytes_raw().hex(),
            "expires_at": expires_at,
            "signature": key.sign(text).hex(),
        }

    @property
    def transfer_out(self) -> str:
        return str(self.placed("Offboarding/TransferOut", "AWS::S3::Bucket").ref)


MARKET_SPEC = DEV.catalogue.spec(MARKET)


@pytest.fixture(scope="module")
def world(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("offboarding")
    with delivered(Desk, exchanges["dev"].folder.parent, folder, running=["engine", "ledger"]) as made:
        yield made


def test_a_customer_leaves_and_takes_everything(world: Desk) -> None:
    account, api_key = world.customer("ani")
    stays, other_key = world.customer("budi")
    asked = {"closure_id": "closure-0001", "account": account, "asked_by": "ani"}
    for _twice in range(2):  # a client may ask again
        assert world.call("Offboarding/Door", asked) == {"id": "closure-0001"}
    world.until(lambda found: "free" in found, "closure-0001")
    assert (world.is_enabled(api_key), world.open_orders(account)) == (False, 0)
    assert json.loads(world.item("closure-0001")["free"]) == {"USDT": 1_000 * DOLLAR}
    assert world.item("closure-0001")["status"] == "frozen"
    world.pay_out_by_hand(account, "ani")
    found = world.until(lambda found: found["status"] == "closed", "closure-0001")
    assert (world.is_enabled(other_key), world.open_orders(stays)) == (True, 1)
    key = found["statement"].removeprefix(f"s3://{world.transfer_out}/")
    text = world.cloud.client("s3").get_object(Bucket=world.transfer_out, Key=key)["Body"].read().decode()
    zero, all_of_it = f"0.{'0' * USDT.decimals}", f"1000.{'0' * USDT.decimals}"
    assert f"movement,USDT,{zero},{all_of_it},{all_of_it},{zero},{zero},{zero},{zero}," in text
    assert world.item(f"clock#{account}")["files_until"] == found["files_until"] > found["closed_on"]


def test_an_operator_needs_two_others_and_a_stranger_is_refused(world: Desk) -> None:
    account, api_key = world.customer("citra")
    asked = {"closure_id": "closure-0002", "account": account, "asked_by": "operator-7"}
    assert world.call("Offboarding/Desk", asked) == {"id": "closure-0002"}
    world.until(lambda found: "token" in found, "closure-0002")
    first = world.approval("closure-0002", 0)
    for _twice in range(2):
        assert world.call("Offboarding/Approvals", first) == {"approvals": 1, "needed": 2}
    wrong = world.call("Offboarding/Approvals", first | {"expires_at": first["expires_at"] + 1})
    assert "the signature is not of this request" in wrong["errorMessage"]
    assert (world.item("closure-0002")["status"], world.is_enabled(api_key)) == ("asked", True)
    world.pay_out_by_hand(account, "citra")
    assert world.call("Offboarding/Approvals", world.approval("closure-0002", 1)) == {"approvals": 2, "needed": 2}
    world.until(lambda found: "free" in found, "closure-0002")
    world.pay_out_by_hand(account, "citra-2")  # what her order had held
    world.until(lambda found: found["status"] == "closed", "closure-0002")
    assert world.call("Offboarding/Door", {"closure_id": "closure-0003", "account": 999_999, "asked_by": "x"})
    world.until(lambda found: found["status"] == "refused", "closure-0003")


def test_all_accounts_are_handed_over_and_the_import_finds_no_difference(world: Desk) -> None:
    world.customer("dewi")
    asked = {"hand_over_id": "hand-over-0001", "to": "PT Penerus", "asked_by": "operator-7"}
    assert world.call("Offboarding/HandOverDesk", asked) == {"id": "hand-over-0001"}
    world.until(lambda found: "token" in found, "hand-over-0001")
    for number in range(2):
        world.call("Offboarding/Approvals", world.approval("hand-over-0001", number))
    found = world.until(lambda found: found["status"] == "exported", "hand-over-0001")
    s3 = world.cloud.client("s3")
    folder = found["location"].removeprefix(f"s3://{world.transfer_out}/").removesuffix(f"/{MANIFEST}")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket=world.transfer_out, Prefix=folder)["Contents"]]
    files = {key.rpartition("/")[2]: s3.get_object(Bucket=world.transfer_out, Key=key)["Body"].read() for key in keys}
    assert reconcile(files.get, DEV.catalogue).is_zero
    landing = world.placed("Migration/Landing", "AWS::S3::Bucket").ref
    for name, content in files.items():
        s3.put_object(Bucket=landing, Key=f"incoming/first/{name}", Body=content)
        changed = content.replace(b"dewi", b"devi") if name == ACCOUNTS else content
        s3.put_object(Bucket=landing, Key=f"incoming/second/{name}", Body=changed)
    machine = world.placed("Migration/FlowMachine", "AWS::StepFunctions::StateMachine").ref
    ends = {
        name: ended(world, machine, name, given)
        for name, given in {
            "run-1": {"what": "dry-run", "run_id": "run-1", "folder": "incoming/first"},
            "run-2": {"what": "dry-run", "run_id": "run-2", "folder": "incoming/second"},
            "run-3": {"what": "post", "run_id": "run-3", "folder": "incoming/first"},
            "run-4": {"what": "shadow-run", "run_id": "run-4", "folder": "incoming/first"},
            "run-5": {"what": "all", "run_id": "run-5", "folder": "incoming/first"},
        }.items()
    }
    assert ends == {"run-1": "", "run-2": "Differs", "run-3": "NotBuilt", "run-4": "NotBuilt", "run-5": "Unknown"}
    report = json.loads(s3.get_object(Bucket=landing, Key="reports/run-2.json")["Body"].read())
    assert [each["where"] for each in report["differences"]] == [f"{ACCOUNTS}: sha256"]
    first = json.loads(s3.get_object(Bucket=landing, Key="reports/run-1.json")["Body"].read())
    assert (first["is_zero"], first["hand_over_id"]) == (True, "hand-over-0001")


def ended(world: Desk, machine: str, name: str, given: dict[str, Any]) -> str:
    """Run the import; return the error it ended with, nothing for success."""
    states = world.cloud.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine, name=name, input=json.dumps(given))["executionArn"]
    deadline = time.monotonic() + WAIT_S
    while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return str(found.get("error", "")) if found["status"] != "SUCCEEDED" else ""


def test_a_deposit_after_the_closure_is_a_case(world: Desk) -> None:
    (account,) = [int(each["account"]) for each in (world.item("closure-0001"),)]
    detail = {
        "event_id": "deposit-late",
        "at_us": 1,
        "account_id": account,
        "asset": "USDT",
        "amount": "5",
        "reference": "late",
    }
    events = world.cloud.client("events")
    bus = world.placed("Data/EventsBus", "AWS::Events::EventBus").ref
    (url,) = [each for each in world.cloud.client("sqs").list_queues()["QueueUrls"] if "Surveillance-CaseQueue" in each]
    events.put_events(
        Entries=[
            {
                "EventBusName": bus,
                "Source": "bursa.deposits",
                "DetailType": "deposit.credited",
                "Detail": json.dumps(detail),
            }
        ]
    )
    deadline = time.monotonic() + WAIT_S
    while True:
        assert time.monotonic() < deadline
        taken = world.cloud.client("sqs").receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", [])
        cases = [json.loads(each["Body"])["detail"] for each in taken]
        if cases:
            break
    assert [(each["kind"], each["account_ids"]) for each in cases] == [("deposit-after-closure", [account])]


def test_who_leaves_is_in_no_log(world: Desk) -> None:
    folder = world.folder / "logs"
    text = "\n".join(path.read_text() for path in folder.rglob("*.log") if path.name.startswith("Dev-Offboarding"))
    text = text or "\n".join(path.read_text() for path in folder.rglob("*") if path.is_file())
    assert "closure-0001" in text
    assert "operator-7" not in text
