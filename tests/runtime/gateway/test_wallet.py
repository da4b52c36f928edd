"""What comes in from chains and goes out to them, as a signed client asks for it; the tables are moto's."""

import io
import json
import time
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from config.environments import DEV
from runtime.chain.addresses import deposit_address
from runtime.chain.deposits import Transfer
from runtime.chain.store import Deposit, Deposits, Status
from runtime.gateway.wallet import BY_ACCOUNT, AwsWallet, ChainAsset, DepositChain, WithdrawalRule
from runtime.withdrawals.register import PREPARED, REFUSED, SENT, SETTLED, Register
from runtime.withdrawals.rules import Receiver, Request
from tests.runtime.gateway.test_endpoints import ask, refused
from tests.runtime.gateway.world import ADDRESS, Trader, World

XPUB = str(DEV.nodes.chains[0].extended_public_key)
DESTINATION = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
ETHER = 10**8
FEE = ETHER // 1000
APPLY = "POST /sapi/v1/capital/withdraw/apply"
WANTED = {"coin": "ETH", "address": DESTINATION, "amount": "0.5", "name": "Ani", "receiverPlace": "Jakarta"}
NOW_S = int(time.time())


class Door:
    """The function that takes withdrawals."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.problem = ""

    def invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803 - boto3's names
        assert FunctionName == "door"
        self.asked.append(json.loads(Payload))
        if self.problem:
            return {
                "FunctionError": "Unhandled",
                "Payload": io.BytesIO(json.dumps({"errorType": self.problem}).encode()),
            }
        return {"Payload": io.BytesIO(b"{}")}


class Desk:
    """The exchange with a wallet."""

    def __init__(self) -> None:
        self.world = World()
        self.door = Door()
        self.dynamodb = boto3.client("dynamodb", region_name="ap-southeast-3")
        _table(self.dynamodb, "addresses", "address", "")
        _table(self.dynamodb, "deposits", "id", "changed_us")
        _table(self.dynamodb, "withdrawals", "id", "asked_at_s")
        self.wallet = AwsWallet(
            deposit_table="deposits",
            address_table="addresses",
            withdrawal_table="withdrawals",
            withdrawal_function="door",
            chains=[DepositChain("ethereum", XPUB, [ChainAsset("ETH", 3), ChainAsset("USDT", 3)])],
            rules=[WithdrawalRule("ETH", "ethereum", ETHER // 100, 20 * ETHER, FEE)],
        )
        self.wallet._lambda = self.door
        self.world.exchange.wallet = self.wallet
        self.ana, self.account = self.world.ana, self.world.ana.account
        allowed = {"permissions": {"READ", "WITHDRAW"}, "ip_list": {f"{ADDRESS}/32"}}
        self.custodian = Trader("custodian", self.account, "HMAC", self.world.keys, **allowed)
        self.register = Register("withdrawals", client=self.dynamodb)

    def deposit(self, place: str, status: Status, changed_s: int = NOW_S, account: int = 0, asset: str = "ETH") -> None:
        transfer = Transfer(place=place, asset=asset, address="0xdead", amount=5 * 10**17)
        Deposits("deposits", "ethereum", self.dynamodb).put(
            Deposit(
                chain="ethereum",
                transfer=transfer,
                status=status,
                block="0xb",
                account=account or self.account,
                units=ETHER // 2,
            ),
            changed_s * 1_000_000,
        )

    def asked(self, name: str, *, at_s: int = NOW_S, account: int = 0, client_id: str = "") -> None:
        self.register.add(
            Request(
                request_id=name,
                account=account or self.account,
                asked_by="x",
                asset="ETH",
                chain="ethereum",
                destination=DESTINATION,
                amount=ETHER,
                receiver=Receiver(name="Ani", place=""),
                client_id=client_id,
            ),
            at_s,
        )

    def move(self, name: str, status: str, **changes: Any) -> None:
        self.register.move(name, ("asked",), status, **changes)


def _table(dynamodb: Any, name: str, key: str, sort: str) -> None:
    attributes = [{"AttributeName": key, "AttributeType": "S"}]
    extra: dict[str, Any] = {}
    if sort:
        attributes += [{"AttributeName": each, "AttributeType": "N"} for each in ("account", sort)]
        keys = [{"AttributeName": "account", "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]
        index = {"IndexName": BY_ACCOUNT, "KeySchema": keys, "Projection": {"ProjectionType": "ALL"}}
        extra["GlobalSecondaryIndexes"] = [index]
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        AttributeDefinitions=attributes,
        BillingMode="PAY_PER_REQUEST",
        **extra,
    )


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
    with mock_aws():
        found = Desk()
        yield found
        found.wallet.close()


def test_an_address_is_the_accounts_own_and_is_issued(desk: Desk) -> None:
    route = "GET /sapi/v1/capital/deposit/address"
    for _twice in range(2):
        answer = ask(desk.world, route, desk.ana, coin="USDT", network="ETH")
        assert answer == {
            "coin": "USDT",
            "address": deposit_address("ethereum", XPUB, desk.account),
            "tag": "",
            "url": "",
        }
    issued = desk.dynamodb.scan(TableName="addresses")["Items"]
    assert issued == [{"address": {"S": f"ethereum/{answer['address']}"}, "account": {"N": str(desk.account)}}]
    assert ask(desk.world, route, desk.world.budi, coin="ETH")["address"] != answer["address"]
    for wrong, code in (
        ({"coin": "IDR"}, -1020),
        ({"coin": "ETH", "network": "BTC"}, -1020),
        ({"coin": "DOGE"}, -1130),
    ):
        assert refused(desk.world, route, desk.ana, **wrong).code == code


def test_deposits_are_listed_newest_first_and_only_the_accounts_own(desk: Desk) -> None:
    desk.deposit("0xaa:value", "credited", NOW_S - 50)
    desk.deposit("0xbb:log0", "pending", NOW_S - 40, asset="USDT")
    desk.deposit("0xcc:value", "frozen", NOW_S - 30)
    desk.deposit("0xdd:value", "credited", NOW_S - 20, account=desk.world.budi.account)
    desk.deposit("0xee:value", "credited", NOW_S - 100 * 24 * 3600)
    route = "GET /sapi/v1/capital/deposit/hisrec"
    rows = ask(desk.world, route, desk.ana)
    assert [(row["txId"], row["coin"], row["status"], row["confirmTimes"]) for row in rows] == [
        ("0xcc", "ETH", 7, "0/3"),
        ("0xbb", "USDT", 0, "0/3"),
        ("0xaa", "ETH", 1, "3/3"),
    ]
    assert (rows[2]["amount"], rows[2]["insertTime"], rows[2]["network"]) == (
        "0.50000000",
        (NOW_S - 50) * 1000,
        "ETH",
    )
    for filters, expected in (
        ({"coin": "USDT"}, ["0xbb"]),
        ({"status": 1}, ["0xaa"]),
        ({"txId": "0xcc"}, ["0xcc"]),
        ({"limit": 1}, ["0xcc"]),
        ({"limit": 1, "offset": 2}, ["0xaa"]),
        ({"startTime": (NOW_S - 45) * 1000, "endTime": (NOW_S - 35) * 1000}, ["0xbb"]),
        ({"endTime": (NOW_S - 99 * 24 * 3600) * 1000}, ["0xee"]),
    ):
        assert [row["txId"] for row in ask(desk.world, route, desk.ana, **filters)] == expected, filters
    assert refused(desk.world, route, desk.ana, startTime=2, endTime=1).code == -1128
    assert refused(desk.world, route, desk.ana, startTime=1, endTime=NOW_S * 1000).code == -1127


def test_withdrawals_tell_where_they_are(desk: Desk) -> None:
    for number, (status, changes) in enumerate(
        (
            ("asked", {}),
            (PREPARED, {"fee": FEE, "approvals_needed": 2}),
            (SENT, {"fee": FEE, "transaction_id": "0xf00"}),
            (SETTLED, {"fee": FEE, "transaction_id": "0xf01"}),
            (REFUSED, {"words": "the address is not in the customer's book"}),
        )
    ):
        desk.asked(f"withdrawal-{number}", at_s=NOW_S - 10 + number, client_id=f"mine{number}")
        if status != "asked":
            desk.move(f"withdrawal-{number}", status, **changes)
    desk.asked("of-somebody", account=desk.world.budi.account)
    desk.register.add_address(desk.account, "ethereum", DESTINATION, NOW_S)
    route = "GET /sapi/v1/capital/withdraw/history"
    rows = ask(desk.world, route, desk.ana)
    assert [(row["withdrawOrderId"], row["status"], row["txId"]) for row in rows] == [
        ("mine4", 3, ""),
        ("mine3", 6, "0xf01"),
        ("mine2", 4, "0xf00"),
        ("mine1", 2, ""),
        ("mine0", 4, ""),
    ]
    assert rows[0]["info"] == "the address is not in the customer's book"
    assert {(row["amount"], row["transactionFee"], row["network"]) for row in rows} == {
        ("0.99900000", "0.00100000", "ETH")
    }
    assert rows[4]["applyTime"] == time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(NOW_S - 10))
    for filters, expected in (
        ({"withdrawOrderId": "mine2"}, ["mine2"]),
        ({"status": 6}, ["mine3"]),
        ({"coin": "BTC"}, []),
        ({"offset": 3, "limit": 1}, ["mine1"]),
    ):
        assert [row["withdrawOrderId"] for row in ask(desk.world, route, desk.ana, **filters)] == expected


def test_a_withdrawal_is_handed_in_once_under_its_name(desk: Desk) -> None:
    first = ask(desk.world, APPLY, desk.custodian, withdrawOrderId="mine", **WANTED)
    assert ask(desk.world, APPLY, desk.custodian, withdrawOrderId="mine", **WANTED) == first
    assert desk.door.asked == 2 * [
        {
            "withdrawal_id": first["id"],
            "account": desk.account,
            "asked_by": f"account/{desk.account}",
            "asset": "ETH",
            "chain": "ethereum",
            "destination": DESTINATION,
            "amount": ETHER // 2,
            "client_id": "mine",
            "receiver": {"name": "Ani", "place": "Jakarta"},
        }
    ]
    unnamed = [ask(desk.world, APPLY, desk.custodian, **WANTED)["id"] for _ in range(2)]
    assert len({first["id"], *unnamed}) == 3


def test_only_a_key_for_it_withdraws_and_only_from_its_addresses(desk: Desk) -> None:
    keys = desk.world.keys
    for number, item in enumerate(
        (
            {"permissions": {"READ", "TRADE"}},
            {"permissions": {"READ", "WITHDRAW"}},
            {"permissions": {"READ", "TRADE"}, "ip_list": {f"{ADDRESS}/32"}},
            {"permissions": {"READ", "WITHDRAW"}, "ip_list": {"203.0.113.9/32"}},
        )
    ):
        trader = Trader(f"other{number}", desk.account, "HMAC", keys, **item)
        error = refused(desk.world, APPLY, trader, **WANTED)
        assert (error.code, error.status) == (-2015, 401), item
    assert desk.door.asked == []


def test_what_cannot_be_withdrawn_is_said(desk: Desk) -> None:
    for wrong, code in (
        ({"coin": "BTC"}, -1020),
        ({"coin": "NOPE"}, -1130),
        ({"network": "BTC"}, -1020),
        ({"amount": "0"}, -1130),
        ({"amount": "0.000000001"}, -1111),
        ({"address": "two words"}, -1100),
        ({"addressTag": "7"}, -1020),
        ({"walletType": "1"}, -1020),
    ):
        assert refused(desk.world, APPLY, desk.custodian, **(WANTED | wrong)).code == code, wrong
    assert desk.door.asked == []
    desk.door.problem = "StatusError"
    error = refused(desk.world, APPLY, desk.custodian, withdrawOrderId="mine", **WANTED)
    assert (error.code, error.text) == (-1130, "Data sent for parameter 'withdrawOrderId' is not valid.")
    desk.door.problem = "Runtime.ExitError"
    assert refused(desk.world, APPLY, desk.custodian, **WANTED).code == -1006


def test_assets_tell_their_chains(desk: Desk) -> None:
    coins = {each["coin"]: each for each in ask(desk.world, "GET /sapi/v1/capital/config/getall", desk.ana)}
    (network,) = coins["ETH"]["networkList"]
    assert (network["network"], network["depositEnable"], network["withdrawEnable"], network["minConfirm"]) == (
        *("ETH", True, True),
        3,
    )
    assert (network["withdrawFee"], network["withdrawMin"], network["withdrawMax"]) == (
        *("0.00100000", "0.01000000"),
        "20.00000000",
    )
    assert (coins["USDT"]["depositAllEnable"], coins["USDT"]["withdrawAllEnable"]) == (True, False)
    assert (coins["BTC"]["depositAllEnable"], coins["BTC"]["networkList"]) == (False, [])


def test_without_a_wallet_there_is_none() -> None:
    world = World()
    for route in ("GET /sapi/v1/capital/deposit/hisrec", "GET /sapi/v1/capital/withdraw/history"):
        assert refused(world, route, world.ana).code == -1020
