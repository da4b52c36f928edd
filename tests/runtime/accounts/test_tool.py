"""The operator's commands, from the command line to the engine and back, with the real engine behind a fake link."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

import runtime.accounts.__main__ as tool
from config.markets import CATALOGUE
from runtime.accounts.keys import KeyRefusedError, new_ed25519_pair
from runtime.accounts.operations import CommandRefusedError, deposit, open_account
from runtime.engine.engine import Engine
from runtime.ledger.history import AccountName
from runtime.shared.business_events import AccountOpened
from runtime.shared.messages import (
    AccountState,
    Answered,
    AskTotals,
    Command,
    Configure,
    Question,
    Replied,
    Totals,
)
from runtime.shared.settings import Login
from tests.runtime.accounts.conftest import TABLE


class FakeLink:
    """The engine, without its journal."""

    def __init__(self) -> None:
        self.engine = Engine()
        self.sequence = 0
        self.off_by = 0

    async def send(self, command: Command) -> Replied:
        self.sequence += 1
        reply, _ = self.engine.apply(self.sequence, self.sequence, command)
        return Replied(self.sequence, self.sequence, self.sequence, reply)

    async def ask(self, question: Question) -> Answered:
        if not isinstance(question, AskTotals):
            return Answered(1, self.sequence, AccountState(0, "house:external", 0, [], 0))
        sums: dict[int, list[int]] = {}
        for number, account in self.engine.accounts.accounts.items():
            for asset, holding in account.holdings.items():
                place = 2 if number == 0 else 1 if number < 1000 else 0
                sums.setdefault(asset, [self.off_by, 0, 0])[place] += holding.free + holding.held
        rows = [(asset, users, house, outside) for asset, (users, house, outside) in sorted(sums.items())]
        return Answered(1, self.sequence, Totals(rows, len(self.engine.accounts.accounts), 0, "hash"))


class FakeHistory:
    """Knows the accounts of the engine, once asked to wait for all of it."""

    def __init__(self, link: FakeLink) -> None:
        self._link = link
        self._seen = 0

    async def wait_for(self, sequence: int) -> None:
        self._seen = sequence

    async def account_named(self, name: str) -> AccountName | None:
        assert self._seen == self._link.sequence
        number = self._link.engine.accounts.ids.get(name)
        return None if number is None else AccountName(number, name, self._link.engine.accounts.accounts[number].tier)

    async def close(self) -> None:
        """Nothing to close."""


@pytest.fixture
def link() -> FakeLink:
    link = FakeLink()
    assets = [asset.id for asset in CATALOGUE.assets]
    asyncio.run(link.send(Configure(assets, CATALOGUE.specs(), CATALOGUE.tier_specs())))
    return link


Run = Callable[..., str]


@pytest.fixture(scope="module")
def environment(cloud: None) -> dict[str, str]:
    """What the tool is told, and what it finds behind that."""
    del cloud
    boto3.client("ssm").put_parameter(Name="/bursa/catalogue", Value=CATALOGUE.to_json(), Type="String")
    boto3.client("events").create_event_bus(Name="business")
    return {
        "ENGINE_ADDRESS": "127.0.0.1:1",
        "CATALOGUE_PARAMETER": "/bursa/catalogue",
        "DATABASE_URL": "postgresql://ledger_reader@127.0.0.1:1/ledger",
        "API_KEY_TABLE": TABLE,
        "API_KEY_KMS_KEY": boto3.client("kms").create_key()["KeyMetadata"]["KeyId"],
        "EVENT_BUS": "business",
    }


@pytest.fixture
def run(link: FakeLink, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """What `python -m runtime.accounts WORDS` prints on success."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    @asynccontextmanager
    async def engine(_address: str) -> AsyncIterator[FakeLink]:
        yield link

    async def open_history(login: Login, **_: Any) -> FakeHistory:
        assert "dbname=ledger" in await login()
        return FakeHistory(link)

    monkeypatch.setattr(tool, "_engine", engine)
    monkeypatch.setattr(tool, "open_history", open_history)
    return lambda *words: asyncio.run(tool.run(tool.parser().parse_args(words)))


def test_open_fund_and_total(run: Run) -> None:
    assert run("open", "ana", "--tier", "professional") == "account 1000  ana  tier professional"
    assert run("open", "ana", "--tier", "standard") == "account 1000  ana  tier standard"
    assert run("deposit", "ana", "BTC", "1.5", "--reference", "r1") == "credited 1.50000000 BTC to ana"
    with pytest.raises(tool.ToolError, match="'r1' was credited before; nothing changed"):
        run("deposit", "ana", "BTC", "1.5", "--reference", "r1")
    assert run("deposit", "ana", "IDR", "250000", "--reference", "r2") == "credited 250000.00 IDR to ana"
    lines = run("totals").splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["BTC", "1.50000000", "0.00000000", "-1.50000000", "0"],
        ["IDR", "250000.00", "0.00", "-250000.00", "0"],
    ]
    assert lines[3] == "5 accounts, 0 open orders, state hash"


def test_opening_is_told_to_the_bus(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []

    class Events:
        def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
            told.extend(Entries)
            return {"FailedEntryCount": len(told) - 1, "Entries": [{"ErrorCode": "BusIsFull"}]}

    client = boto3.client
    monkeypatch.setattr(boto3, "client", lambda name: Events() if name == "events" else client(name))
    run("open", "ana")
    (entry,) = told
    opened = AccountOpened.model_validate_json(entry.pop("Detail"))  # as every reader of the bus does
    assert (opened.event_id, opened.account_id, opened.tier) == ("account-opened/1000", 1000, "standard")
    assert entry == {"EventBusName": "business", "Source": "bursa.accounts", "DetailType": "account.opened"}
    with pytest.raises(tool.ToolError, match="BusIsFull was not published to business; the same command again"):
        run("open", "ana")


def test_keys_are_created_and_shown_once(run: Run, tmp_path: Path) -> None:
    run("open", "ana", "--tier", "professional")
    hmac = json.loads(run("key", "ana", "--ip", "192.0.2.1", "--permissions", "read"))
    pair = json.loads(run("key", "ana", "--kind", "ed25519", "--label", "bot"))
    (tmp_path / "public.pem").write_text(new_ed25519_pair()[1])
    own = json.loads(run("key", "ana", "--public-key", str(tmp_path / "public.pem")))
    assert set(hmac) == {"account", "kind", "api_key", "secret_key"}
    assert "PRIVATE KEY" in pair["private_key_pem"]
    assert set(own) == {"account", "kind", "api_key"}
    items = {item["api_key"]["S"]: item for item in boto3.client("dynamodb").scan(TableName=TABLE)["Items"]}
    assert set(items) == {hmac["api_key"], pair["api_key"], own["api_key"]}
    assert items[hmac["api_key"]]["permissions"] == {"SS": ["READ"]}
    assert items[hmac["api_key"]]["ip_list"] == {"SS": ["192.0.2.1"]}
    assert items[pair["api_key"]]["label"] == {"S": "bot"}
    assert {item["tier"]["S"] for item in items.values()} == {"professional"}
    assert {item["account_id"]["N"] for item in items.values()} == {"1000"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("open", "ana", "--tier", "gold"), "unknown tier 'gold'; known: standard, professional, market_maker"),
        (("open", "house:fees"), "OpenAccount was refused: the name or reference is not allowed"),
        (("key", "nobody"), "there is no account 'nobody'; open it first"),
        (("deposit", "budi", "XYZ", "1", "--reference", "r"), "unknown asset 'XYZ'"),
        (("deposit", "budi", "BTC", "-1", "--reference", "r"), "AMOUNT of BTC must be a plain decimal"),
        (("deposit", "budi", "IDR", "0.001", "--reference", "r"), "AMOUNT of IDR must have at most 2 decimals"),
        (("deposit", "budi", "BTC", "0", "--reference", "r"), "Deposit was refused: the amount"),
    ],
)
def test_what_is_wrong_is_one_clear_line(
    run: Run, words: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("open", "budi")
    monkeypatch.setattr(sys, "argv", ["accounts", *words])
    assert tool.main() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("variable", ["API_KEY_TABLE", "API_KEY_KMS_KEY", "DATABASE_URL"])
def test_a_variable_that_a_command_needs_is_named(run: Run, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(variable)
    run("open", "ana")
    with pytest.raises(tool.ToolError, match=f"environment variable {variable} is missing"):
        run("key", "ana")


def test_a_key_that_withdraws_is_held_to_addresses(run: Run) -> None:
    run("open", "ana")
    with pytest.raises(KeyRefusedError, match="WITHDRAW needs a list of the addresses"):
        run("key", "ana", "--permissions", "READ,WITHDRAW")
    assert "api_key" in run("key", "ana", "--permissions", "READ,WITHDRAW", "--ip", "198.51.100.7")


@pytest.mark.parametrize(
    "words",
    [("key", "a", "--ip", "1.2.3"), ("key", "a", "--permissions", "FLY"), ("status", "BTCUSDT", "halt"), ()],
)
def test_a_wrong_call_is_explained(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        tool.parser().parse_args(words)
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_totals_that_do_not_sum_to_zero_fail(run: Run, link: FakeLink) -> None:
    run("open", "ana")
    run("deposit", "ana", "BTC", "1", "--reference", "r1")
    link.off_by = 1
    with pytest.raises(tool.ToolError, match="does not sum to zero"):
        run("totals")


def test_the_library_tells_a_repeated_deposit_from_a_refused_one(link: FakeLink) -> None:
    async def scenario() -> None:
        account = await open_account(link, "ana", 1)  # type: ignore[arg-type]
        assert await deposit(link, account, 1, 5, "r") is True  # type: ignore[arg-type]
        assert await deposit(link, account, 1, 5, "r") is False  # type: ignore[arg-type]
        with pytest.raises(CommandRefusedError, match="no such account"):
            await deposit(link, 77, 1, 5, "s")  # type: ignore[arg-type]

    asyncio.run(scenario())
