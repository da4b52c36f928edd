"""An AWS in memory for each file of tests."""

from collections.abc import Iterator

import boto3
import pytest
from moto import mock_aws

TABLE = "keys"


@pytest.fixture(scope="module")
def cloud() -> Iterator[None]:
    """moto in this process, with the table of API keys."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", "ap-southeast-3")
        boto3.client("dynamodb").create_table(
            TableName=TABLE,
            KeySchema=[{"AttributeName": "api_key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "api_key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        yield
