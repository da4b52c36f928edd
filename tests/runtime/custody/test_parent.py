"""From an item in the table to its signed transaction, by a host that decides nothing."""

import asyncio
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from runtime.wallet_enclave.messages import (
    CreateWallet,
    Refused,
    Signed,
    SignWithdrawal,
    WalletSealed,
    decode,
    decode_reply,
    encode,
)
from runtime.wallet_parent.main import NotReadyError, Parent, ParentSettings
from tests.runtime.custody.vault import CREDENTIALS, REGION, SIGNERS, Vault, load, manifest, running, withdrawal


class Frozen:
    """What botocore gives of a role."""

    access_key = CREDENTIALS.access_key
    secret_key = CREDENTIALS.secret_key
    token = CREDENTIALS.token

    def get_frozen_credentials(self) -> "Frozen":
        return self


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        made = boto3.resource("dynamodb", region_name=REGION).create_table(
            TableName="signing",
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[
                {"AttributeName": "id", "AttributeType": "S"},
                {"AttributeName": "waiting", "AttributeType": "S"},
                {"AttributeName": "asked_at", "AttributeType": "N"},
            ],
            GlobalSecondaryIndexes=[
                {
                    "IndexName": "Waiting",
                    "KeySchema": [
                        {"AttributeName": "waiting", "KeyType": "HASH"},
                        {"AttributeName": "asked_at", "KeyType": "RANGE"},
                    ],
                    "Projection": {"ProjectionType": "KEYS_ONLY"},
                }
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield made


def parent(vault: Vault, table: Any) -> Parent:
    settings = ParentSettings(
        service="wallet_parent",
        listen_port=7010,
        aws_region=REGION,
        enclave=vault.socket,
        kms_forwarder="unix:/unused",
        kms_address="kms.example:443",
        signing_table="signing",
        wallet="hot-1",
    )
    return Parent(settings, table, Frozen())


def ask(table: Any, name: str, request: str, kind: str = "withdrawal") -> None:
    table.put_item(Item={"id": name, "waiting": kind, "asked_at": 1, "request": request})


def answer_of(table: Any, name: str) -> Any:
    item = table.get_item(Key={"id": name})["Item"]
    assert "waiting" not in item
    return decode_reply(item["answer"].encode())


def test_a_request_in_the_table_is_answered_once_with_what_the_enclave_says(
    tmp_path: Path, key_policy: Any, table: Any
) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy) as vault:
            host = parent(vault, table)
            with pytest.raises(NotReadyError, match="no sealed wallet"):
                await host.turn()
            ask(table, "ceremony-1", encode(CreateWallet("hot-1")).decode(), "ceremony")
            ask(table, "ceremony-2", encode(SignWithdrawal(withdrawal(), ())).decode(), "ceremony")
            ask(table, "early", encode(SignWithdrawal(withdrawal(), ())).decode())
            with pytest.raises(NotReadyError, match="no sealed wallet"):
                await host.turn()
            made = answer_of(table, "ceremony-1")
            assert isinstance(made, WalletSealed)
            assert answer_of(table, "ceremony-2") == Refused("SignWithdrawal is no ceremony")
            assert "answer" not in table.get_item(Key={"id": "early"})["Item"]
            table.put_item(Item={"id": "wallet#hot-1", "sealed": made.sealed})
            with pytest.raises(NotReadyError, match="no manifest"):
                await host.turn()
            unsigned = encode(load(manifest(made.address), SIGNERS[0])).decode()
            table.put_item(Item={"id": "manifest#hot-1", "manifest": unsigned})
            with pytest.raises(NotReadyError, match="2 of 3 signatures are needed"):
                await host.turn()
            signed = encode(load(manifest(made.address), *SIGNERS)).decode()
            table.put_item(Item={"id": "manifest#hot-1", "manifest": signed})

            good, large = withdrawal(), withdrawal(request_id="request-0002", nonce=1, amount=2_00000000)
            for wanted in (good, large):
                ask(table, wanted.request_id, encode(SignWithdrawal(wanted, ())).decode())
            ask(table, "request-0003", '{"type":"sign_withdrawal"}')
            table.put_item(Item={"id": "request-0004", "waiting": "withdrawal", "asked_at": 1})
            assert await host.turn() == 5
            assert isinstance(answer_of(table, "early"), Signed)
            assert await host.turn() == 0
            first = answer_of(table, good.request_id)
            assert isinstance(first, Signed)
            assert answer_of(table, large.request_id) == Refused("2 approvals are needed, 0 are valid")
            assert "withdrawal" in answer_of(table, "request-0003").reason
            assert answer_of(table, "request-0004").reason.startswith("the item has no request")

            # Another host starts on the same enclave and finds the request again: the answer is the same bytes.
            ask(table, good.request_id, encode(SignWithdrawal(good, ())).decode())
            assert await parent(vault, table).turn() == 1
            assert answer_of(table, good.request_id) == first
            assert decode(encode(first), Signed) == first

    asyncio.run(asyncio.wait_for(work(), 120))


def test_an_answer_that_is_there_is_never_written_over(tmp_path: Path, key_policy: Any, table: Any) -> None:
    async def work() -> None:
        async with running(tmp_path, key_policy) as vault:
            host = parent(vault, table)
            table.put_item(Item={"id": "request-0001", "answer": "first"})
            host._keep("request-0001", "second")
            host._keep("request-gone", "second")
            assert table.get_item(Key={"id": "request-0001"})["Item"]["answer"] == "first"
            assert "Item" not in table.get_item(Key={"id": "request-gone"})

    asyncio.run(asyncio.wait_for(work(), 120))
