"""An office for each test."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

from runtime.wallet_enclave.ethereum import address
from runtime.wallet_enclave.messages import encode
from tests.runtime.custody import vault
from tests.runtime.withdrawals.office import ADDRESS, REGION, WALLET, Office


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name=REGION)
        for table in ("withdrawals", "signing"):
            client.create_table(
                TableName=table,
                KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                BillingMode="PAY_PER_REQUEST",
            )
        loaded = encode(vault.load(vault.manifest(address(WALLET)), *vault.SIGNERS)).decode()
        client.put_item(TableName="signing", Item={"id": {"S": "manifest#hot-1"}, "manifest": {"S": loaded}})
        made = Office(client)
        made.know(ADDRESS)
        yield made
