"""Halts by one operator and openings by two, by the command line, through the templates' functions and an engine."""

import io
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from config.environments import DEV
from local.cloud import ACCESS_KEY
from runtime.accounts.operations import deposit, open_account
from runtime.business_metrics.measures import LedgerSum, ledger_case
from runtime.controls import __main__ as tool
from runtime.shared.business_events import EventPublisher
from runtime.shared.catalogue import read_catalogue
from runtime.shared.engine_link import EngineLink
from runtime.shared.messages import (
    BUY,
    GTC,
    LIMIT,
    MARKET_CLOSED,
    TRADING,
    AskMarket,
    OrderPlaced,
    PlaceOrder,
    Rejected,
    SetMarketStatus,
)
from runtime.withdrawals.register import Register as WithdrawalRegister
from tests.local.world import REGION, World, delivered

WAIT_S = 120.0
USDT = DEV.catalogue.asset("USDT")
MARKET = DEV.catalogue.market_by_symbol["BTCUSDT"]
LOTS = DEV.catalogue.spec(MARKET).min_lots * 1_000
SEEDS = (
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
    "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
)
"""Test vectors of RFC 8032, which the configuration of dev has as its first two approvers."""


@dataclass
class Desk(World):
    """An engine, and a client of it."""

    accounts: list[int] = field(default_factory=list)

    def order(self, name: str) -> Any:
        """Place an order as a client; return the engine's reply."""

        async def place(link: EngineLink) -> Any:
            if not self.accounts:
                self.accounts.append(await open_account(link, "ani", DEV.catalogue.tiers[0].id))
                assert await deposit(link, self.accounts[0], USDT.id, 1_000 * 10**USDT.decimals, "gift")
            order = PlaceOrder(self.accounts[0], MARKET.id, BUY, LIMIT, GTC, MARKET.ticks("1000"), LOTS, 0, name)
            return (await link.send(order)).reply

        return self.with_engine(place)

    def status(self) -> int:
        async def ask(link: EngineLink) -> Any:
            return (await link.ask(AskMarket(MARKET.id))).answer

        return int(self.with_engine(ask).status)

    def watch(self) -> Any:
        return self.call("Controls/Watch", {})

    def key(self, number: int) -> str:
        """Return the file of an approver's key."""
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(SEEDS[number]))
        path = self.folder / f"approver-{number}.pem"
        path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return str(path)


@pytest.fixture(scope="module")
def world(exchanges: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("controls")
    with delivered(Desk, exchanges["dev"].folder.parent, folder, running=["engine"]) as made:
        yield made


Run = Callable[..., str]


@pytest.fixture
def run(world: Desk, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """What `python -m runtime.controls WORDS` prints: on success, or the error."""
    for name, value in {
        "AWS_ENDPOINT_URL": world.cloud.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": "unchecked",
        "AWS_DEFAULT_REGION": REGION,
        "CONTROL_TABLE": world.ref("Controls/Register", "AWS::DynamoDB::GlobalTable"),
        **{
            f"{name.upper()}_FUNCTION": world.ref(f"Controls/{name}Function", "AWS::Lambda::Function")
            for name in ("Brake", "Ask", "Approve")
        },
    }.items():
        monkeypatch.setenv(name, value)

    def ran(*words: str, given: str = "") -> str:
        monkeypatch.setattr("sys.argv", ["controls", *words])
        monkeypatch.setattr("sys.stdin", io.StringIO(given))
        code = tool.main()
        told = capsys.readouterr()
        assert (code == 1) == told.err.startswith("error: "), told
        return told.err or told.out

    return ran


def test_one_halts_two_open_and_trading_goes_on(world: Desk, run: Run) -> None:
    assert isinstance(world.order("first"), OrderPlaced)
    assert run("halt", "BTCUSDT", "--reason", "price-move", "--id", "halt-0001") == "control halt-0001: done\n"
    refused = world.order("second")
    assert isinstance(refused, Rejected)
    assert refused.reason == MARKET_CLOSED
    assert "waits for approvals" in run(
        "ask", "status", "BTCUSDT", "trading", "--reason", "calm", "--id", "open-0001", "--asked-by", "budi"
    )
    first = run("sign", "open-0001", "--key", world.key(0))
    assert run("approve", "-", given=first) == "1 of 2 approvals: waiting\n"
    assert run("approve", "-", given=first) == "1 of 2 approvals: waiting\n"
    assert world.order("third").reason == MARKET_CLOSED
    wrong = json.dumps(json.loads(first) | {"signature": "0" * 128})
    assert "the signature is not of this control" in run("approve", "-", given=wrong)
    second = run("sign", "open-0001", "--key", world.key(1))
    assert run("approve", "-", given=second) == "2 of 2 approvals: done\n"
    assert isinstance(world.order("fourth"), OrderPlaced)
    shown = json.loads(run("show", "open-0001"))
    assert (shown["status"], len(shown["approved_by"])) == ("done", 2)


def test_a_case_of_missing_money_halts_withdrawals_before_anybody_looked(world: Desk, run: Run) -> None:
    register = WithdrawalRegister(world.ref("Withdrawals/Register", "AWS::DynamoDB::GlobalTable"))
    assert not register.is_halted
    bus = EventPublisher(world.ref("Data/", "AWS::Events::EventBus"))
    apart = ledger_case([LedgerSum(asset="USDT", balances=1, postings=0)], 0)
    bus.publish(apart.model_copy(update={"kind": "ledger-apart"}))  # a person decides about those
    bus.publish(apart)
    deadline = time.monotonic() + WAIT_S
    while not register.is_halted:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    table = boto3.resource("dynamodb").Table(world.ref("Controls/Register", "AWS::DynamoDB::GlobalTable"))
    (halt,) = [each for each in table.scan(ConsistentRead=True)["Items"] if each.get("asked_by") == "case"]
    assert (halt["kind"], halt["value"], halt["reason"]) == ("withdrawals", "halt", "ledger-sum")
    told = run("ask", "withdrawals", "open", "--reason", "found", "--id", "open-0003", "--asked-by", "budi")
    assert "waits for approvals" in told


def test_the_brake_opens_nothing_and_says_why(run: Run) -> None:
    told = run("halt", "DOGEUSDT", "--reason", "price-move")
    assert "symbol: must be ALL or one of" in told
    assert "no control 'open-0009'" in run("show", "open-0009")


def test_limits_reach_the_parameter_and_the_watch_halts_again_what_was_opened_beside_it(world: Desk, run: Run) -> None:
    asked = ("ask", "limits", "BTCUSDT", "band_up_ppm=1234500", "--reason", "calm", "--id", "limit-001")
    assert "waits for approvals" in run(*asked)
    for number in (0, 1):
        told = run("approve", "-", given=run("sign", "limit-001", "--key", world.key(number)))
    assert told == "2 of 2 approvals: done\n"
    name = world.ref("Data/Catalogue", "AWS::SSM::Parameter")
    text = world.cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    assert read_catalogue(text, name).market_by_symbol["BTCUSDT"].band_up_ppm == 1_234_500
    run("halt", "BTCUSDT", "--reason", "price-move", "--id", "halt-0002")

    async def open_it(link: EngineLink) -> None:
        await link.send(SetMarketStatus(MARKET.id, TRADING))

    world.with_engine(open_it)
    deadline = time.monotonic() + WAIT_S
    while world.status() == TRADING:
        assert "errorMessage" not in world.watch()
        assert time.monotonic() < deadline
    assert world.watch() == {"mended": []}
