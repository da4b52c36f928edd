"""Demo accounts: keys that stay, funds that are credited once, a file that says how to trade."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from config.markets import CATALOGUE
from local import demo
from local.cloud import Cloud
from local.demo import ACCOUNTS, kept_keys, seed, write_demo
from runtime.accounts.keys import KeyStore
from runtime.shared.money import parse_decimal


@pytest.fixture
def store(cloud: Cloud) -> KeyStore:
    cloud.client("dynamodb").create_table(
        TableName="keys",
        KeySchema=[{"AttributeName": "api_key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "api_key", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    return KeyStore(table="keys", kms_key=key, dynamodb=cloud.client("dynamodb"), kms=cloud.client("kms"))


class Link:
    """An engine that remembers."""

    def __init__(self, _address: str) -> None:
        pass

    async def start(self) -> None:
        pass

    async def wait_connected(self, _timeout_s: float) -> None:
        pass

    async def stop(self) -> None:
        pass


def test_keys_are_made_once_kept_private_and_extended_for_new_accounts(tmp_path: Path) -> None:
    path = tmp_path / "clients.json"
    keys = kept_keys(path)
    assert kept_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    assert keys.keys() == {account.name for account in ACCOUNTS}
    assert len(
        {entry.api_key for entry in keys.values()} | {entry.ed25519_api_key for entry in keys.values()}
    ) == 2 * len(ACCOUNTS)
    kept = json.loads(path.read_bytes())
    del kept["bob"]
    del kept["alice"]["withdraw_api_key"], kept["alice"]["withdraw_secret_key"]  # as an earlier version wrote it
    path.write_text(json.dumps(kept | {"visitor": kept["alice"]}))
    again = kept_keys(path)
    assert again["alice"].api_key == keys["alice"].api_key
    assert again["alice"].withdraw_api_key
    assert kept_keys(path) == again
    assert again["bob"] != keys["bob"]
    assert "visitor" in json.loads(path.read_bytes()), "what somebody else keeps there stays"
    assert keys["alice"].secret_key not in repr(keys["alice"])


def test_accounts_are_opened_funded_and_given_keys_once(
    tmp_path: Path, store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: dict[str, int] = {}
    credited: dict[str, int] = {}

    async def open_account(_link: Any, name: str, tier: int) -> int:
        assert tier in CATALOGUE.tier_by_id
        return opened.setdefault(name, len(opened) + 1)

    async def deposit(_link: Any, account: int, asset: int, amount: int, reference: str) -> bool:
        assert (account, asset) != (0, 0)
        if reference in credited:
            return False
        credited[reference] = amount
        return True

    monkeypatch.setattr(demo, "EngineLink", Link)
    monkeypatch.setattr(demo, "open_account", open_account)
    monkeypatch.setattr(demo, "deposit", deposit)
    keys = kept_keys(tmp_path / "clients.json")
    expected = len(ACCOUNTS) * len(CATALOGUE.assets)
    assert asyncio.run(seed("engine:1", CATALOGUE, store, keys)) == (expected, opened)
    assert asyncio.run(seed("engine:1", CATALOGUE, store, keys)) == (0, opened)
    assert credited["demo/alice/BTC"] == parse_decimal("25", 8)
    stored = store.dynamodb.scan(TableName="keys")["Items"]
    withdrawing = [item for item in stored if "WITHDRAW" in item["permissions"]["SS"]]
    assert {item["api_key"]["S"] for item in withdrawing} == {keys[name].withdraw_api_key for name in ("alice", "bob")}
    assert all(item["ip_list"]["SS"] == ["127.0.0.0/8", "::1/128"] for item in withdrawing)
    assert len(stored) == 2 * len(ACCOUNTS) + len(withdrawing)
    (row,) = [item for item in stored if item["api_key"]["S"] == keys["maker"].api_key]
    assert (row["account_id"]["N"], row["tier"]["S"]) == (str(opened["maker"]), "market_maker")


def test_the_demo_file_holds_users_only(tmp_path: Path) -> None:
    keys = kept_keys(tmp_path / "clients.json")
    path = tmp_path / "demo.json"
    write_demo(path, {"rest_url": "http://127.0.0.1:8000"}, keys, CATALOGUE, {"alice": {"ethereum": "0xaa"}})
    assert path.stat().st_mode & 0o777 == 0o600
    told = json.loads(path.read_bytes())
    assert [account["name"] for account in told["accounts"]] == ["alice", "bob"]
    assert told["accounts"][0].keys() == {
        "name",
        "api_key",
        "secret_key",
        "ed25519_private_key_pem",
        "ed25519_api_key",
        "deposit_addresses",
        "withdraw_api_key",
        "withdraw_secret_key",
        "withdrawal_addresses",
    }
    assert told["symbols"] == ["BTCUSDT", "ETHUSDT", "BTCIDR", "ETHIDR"]
    assert keys["maker"].secret_key not in path.read_text()
