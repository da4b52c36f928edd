"""Revokes API keys. Gateways read a key anew within half a minute, and refuse a disabled one."""

from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

ACCOUNT_INDEX: Final = "Account"
_TAKEN: Final = "ConditionalCheckFailedException"


class KeyRing:
    """The table of API keys, found by the account they speak for."""

    def __init__(self, table: str, *, client: Any = None) -> None:  # noqa: ANN401 - boto3's
        """Use the table of this name."""
        self._table = table
        self._client = client or boto3.client("dynamodb")

    def revoke(self, account: int, now_s: int) -> int:
        """Disable every key of the account; return how many there are. One that is disabled keeps the time it was."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName=ACCOUNT_INDEX,
            KeyConditionExpression="account_id = :account",
            ExpressionAttributeValues={":account": {"N": str(account)}},
        )
        names = [item["api_key"]["S"] for page in pages for item in page["Items"]]
        for name in names:
            try:
                self._client.update_item(
                    TableName=self._table,
                    Key={"api_key": {"S": name}},
                    UpdateExpression="SET enabled = :no, revoked_us = :now",
                    ConditionExpression="enabled = :yes",
                    ExpressionAttributeValues={
                        ":no": {"BOOL": False},
                        ":yes": {"BOOL": True},
                        ":now": {"N": str(now_s * 1_000_000)},
                    },
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != _TAKEN:
                    raise
        return len(names)
