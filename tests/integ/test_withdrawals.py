"""From a signed request to a final transaction on the whole exchange: the enclave signs it, two nodes tell of it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from decimal import Decimal
from typing import Any

import boto3
import pytest
from botocore.config import Config

from config.environments import DEV
from local import ceremony
from local.cloud import Cloud
from local.control import read_status
from runtime.chain.rpc import Rpc
from runtime.wallet_enclave.messages import approval_text
from tests.integ.exchange import Exchange, wait_for

pytestmark = pytest.mark.integ
RULE = DEV.withdrawals.rules[0]
UNIT = Decimal(10) ** -8
ETHER = 10**18
TIMEOUT_S = 180.0
AWAITING_APPROVAL, COMPLETED, REJECTED = 2, 6, 3
NAME = {"name": "Ani", "receiverPlace": "Jakarta"}


class Customer:
    """A demo account with its key that withdraws."""

    def __init__(self, exchange: Exchange, name: str) -> None:
        self.exchange = exchange
        (self.account,) = [each for each in exchange.demo["accounts"] if each["name"] == name]
        self.address: str = self.account["withdrawal_addresses"]["ethereum"]

    def asked(self, verb: str, path: str, key: str = "withdraw_", **values: Any) -> Any:
        """Send a signed request, and return its answer; an error's code and words as well."""
        query = urllib.parse.urlencode({**values, "timestamp": int(time.time() * 1000), "recvWindow": 30_000})
        secret = self.account[f"{key}secret_key"].encode()
        signature = hmac.digest(secret, query.encode(), "sha256").hex()
        request = urllib.request.Request(
            f"{self.exchange.demo['rest_url']}{path}?{query}&signature={signature}",
            headers={"X-MBX-APIKEY": self.account[f"{key}api_key"]},
            method=verb,
        )
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)

    def withdraw(self, amount: Decimal, address: str = "") -> str:
        """Ask for a withdrawal, twice with one name, as a client whose first answer was lost; return its id."""
        order, to = uuid.uuid4().hex, address or self.address
        wanted = {"coin": "ETH", "address": to, "amount": str(amount), "withdrawOrderId": order, **NAME}
        first, second = (self.asked("POST", "/sapi/v1/capital/withdraw/apply", **wanted) for _ in range(2))
        assert first == second
        return str(first["id"])

    def row(self, name: str) -> dict[str, Any]:
        rows = self.asked("GET", "/sapi/v1/capital/withdraw/history", coin="ETH")
        (found,) = [row for row in rows if row["id"] == name]
        return dict(found)

    def until(self, name: str, status: int) -> dict[str, Any]:
        """Return a withdrawal's row once it has this status."""
        deadline = time.monotonic() + TIMEOUT_S
        while (row := self.row(name))["status"] != status:
            assert time.monotonic() < deadline, row
            assert row["status"] not in {COMPLETED, REJECTED}, row
            time.sleep(1)
        return row

    @property
    def ether(self) -> tuple[Decimal, Decimal]:
        """Free and held ether."""
        balances = self.asked("GET", "/api/v3/account", key="")["balances"]
        (found,) = [each for each in balances if each["asset"] == "ETH"]
        return Decimal(found["free"]), Decimal(found["locked"])


def on_chain(exchange: Exchange, method: str, *params: object) -> Any:
    """Ask the simulated chain itself."""
    status = read_status(exchange.layout)
    assert status
    (node,) = [process for process in status.processes if process.name == "ethereum"]
    return asyncio.run(Rpc(node.address).call(method, *params))


def received(exchange: Exchange, address: str) -> int:
    return int(on_chain(exchange, "eth_getBalance", address, "latest"), 16)


def test_a_small_withdrawal_is_confirmed_on_the_chain_and_history_tells_its_transaction(exchange: Exchange) -> None:
    alice = Customer(exchange, "alice")
    free, held = alice.ether
    before, amount = received(exchange, alice.address), Decimal("0.2")
    name = alice.withdraw(amount)
    row = alice.until(name, COMPLETED)
    fee = RULE.fee * UNIT
    assert (Decimal(row["amount"]), Decimal(row["transactionFee"]), row["address"]) == (
        amount - fee,
        fee,
        alice.address,
    )
    receipt = on_chain(exchange, "eth_getTransactionReceipt", row["txId"])
    assert (receipt["status"], receipt["to"]) == ("0x1", alice.address.lower())
    depth = int(on_chain(exchange, "eth_blockNumber"), 16) - int(receipt["blockNumber"], 16) + 1
    assert depth >= DEV.nodes.confirmations("ethereum")["ETH"]
    assert received(exchange, alice.address) - before == int((amount - fee) * ETHER)
    assert alice.ether == (free - amount, held)


def test_above_the_limit_two_approvers_are_needed_and_the_funds_wait(exchange: Exchange) -> None:
    bob = Customer(exchange, "bob")
    free, held = bob.ether
    before, amount = received(exchange, bob.address), RULE.approval_above * UNIT + Decimal("0.5")
    name = bob.withdraw(amount)
    bob.until(name, AWAITING_APPROVAL)
    assert (received(exchange, bob.address), bob.ether) == (before, (free, held))
    approve(exchange, name, "dewi")
    time.sleep(3)
    assert bob.row(name)["status"] == AWAITING_APPROVAL
    approve(exchange, name, "eko")
    bob.until(name, COMPLETED)
    assert received(exchange, bob.address) - before == int((amount - RULE.fee * UNIT) * ETHER)
    assert bob.ether == (free - amount, held)


def test_what_may_not_leave_is_refused_and_a_trading_key_takes_nothing_out(exchange: Exchange) -> None:
    alice = Customer(exchange, "alice")
    balance = alice.ether
    wanted = {"coin": "ETH", "address": alice.address, "amount": "0.2", **NAME}
    assert alice.asked("POST", "/sapi/v1/capital/withdraw/apply", key="", **wanted)["code"] == -2015
    name = alice.withdraw(Decimal("0.2"), Customer(exchange, "bob").address)
    row = alice.until(name, REJECTED)
    assert (row["txId"], row["info"]) == ("", "the address is not in the customer's book")
    assert alice.ether == balance


def test_ledger_and_chain_match_but_for_what_comes_without_a_word(exchange: Exchange) -> None:
    """Other tests may have credited accounts out of nothing: what counts here is the change."""
    before = apart(exchange)
    alice = Customer(exchange, "alice")
    alice.until(alice.withdraw(Decimal("0.1")), COMPLETED)
    assert apart(exchange) == before
    on_chain(exchange, "sim_pay", ceremony.COLD, str(ETHER))
    on_chain(exchange, "sim_mine", DEV.nodes.confirmations("ethereum")["ETH"])
    assert apart(exchange) == before | {"ETH": before.get("ETH", 0) + ETHER}


def test_the_share_of_each_tier_is_put_and_most_is_cold(exchange: Exchange) -> None:
    apart(exchange)
    lines = (exchange.layout.logs / "Reconciliation-ReconcilerFunction.log").read_text().splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    shares = {(each["Asset"], each["Tier"]): each["TierShareBips"][0] for each in told if "TierShareBips" in each}
    assert {tier for asset, tier in shares if asset == "ETH"} == {"hot", "warm", "cold"}
    assert 0 <= shares["ETH", "hot"] <= DEV.reconciliation.hot_bips_max
    assert shares["ETH", "cold"] >= DEV.reconciliation.cold_bips_min
    end = [each for each in told if each.get("message") == "reconciled"][-1]
    assert (end["assets_too_hot"], end["assets_not_cold"]) == (0, 0)


def apart(exchange: Exchange) -> dict[str, int]:
    """Have the reconciler compare now; return what it finds apart, by asset, in the finer unit."""
    answer = called(exchange, "Reconciliation-Reconciler", {})
    return {each["asset"]: int(each["difference"]) for each in answer["apart"]}


def client(exchange: Exchange, service: str) -> Any:
    """Return a client of an operator, who waits as long as a function may take."""
    session = boto3.Session(aws_access_key_id="operator", aws_secret_access_key="unchecked", region_name=DEV.region)
    config = Config(read_timeout=600, retries={"total_max_attempts": 1})
    return session.client(service, endpoint_url=exchange.demo["aws_endpoint_url"], config=config)


def called(exchange: Exchange, part: str, payload: dict[str, Any]) -> Any:
    """Call the one function whose name has `part` in it; return its answer."""
    functions = client(exchange, "lambda").get_paginator("list_functions").paginate()
    (name,) = [each["FunctionName"] for page in functions for each in page["Functions"] if part in each["FunctionName"]]
    answer = client(exchange, "lambda").invoke(FunctionName=name, Payload=json.dumps(payload).encode())
    said = json.load(answer["Payload"])
    assert "FunctionError" not in answer, said
    return said


def approve(exchange: Exchange, name: str, approver: str) -> None:
    """Give an approver's signature to the function that takes them, as its own tool would."""
    tables = client(exchange, "dynamodb").list_tables()["TableNames"]
    (table,) = [each for each in tables if "Withdrawals-Register" in each]
    item: dict[str, Any] = {}

    def is_waiting() -> bool:
        found = client(exchange, "dynamodb").get_item(TableName=table, Key={"id": {"S": name}}, ConsistentRead=True)
        item.update(found["Item"])
        return "token" in item

    wait_for(is_waiting)
    expires_at = int(time.time()) + 600
    key = ceremony.approver(Cloud(exchange.layout.state / "cloud", account=DEV.account, region=DEV.region), approver)
    text = approval_text(hashlib.sha256(item["transfer"]["S"].encode()).digest(), expires_at)
    word = {
        "withdrawal_id": name,
        "approver": key.public_key().public_bytes_raw().hex(),
        "expires_at": expires_at,
        "signature": key.sign(text).hex(),
    }
    called(exchange, "Withdrawals-Approvals", word)
