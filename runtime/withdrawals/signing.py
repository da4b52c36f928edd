"""Asks the enclave's host through the signing table, and gives each transaction its place in the wallet's order."""

from typing import Any, Final

import boto3
from botocore.exceptions import ClientError

from runtime.wallet_enclave.messages import (
    LoadManifest,
    Manifest,
    Reply,
    SignWithdrawal,
    Withdrawal,
    decode,
    decode_reply,
    encode,
)

WALLET: Final = "hot-1"
FEE_PER_GAS_MAX: Final = 100 * 10**9
"""Wei. Enough for a busy chain; the manifest bounds it once more."""
PRIORITY_FEE_MAX: Final = 2 * 10**9
_CANCELED: Final = "TransactionCanceledException"
_TAKEN: Final = "ConditionalCheckFailedException"


class Signing:
    """The table between withdrawals and signers. Nothing in it is secret, and the enclave believes none of it."""

    def __init__(self, table: str, *, client: Any = None) -> None:  # noqa: ANN401 - boto3's
        """Use the table of this name or ARN, which may be of another account."""
        self._table = table
        self._client = client or boto3.client("dynamodb")

    def manifest(self) -> Manifest | None:
        """Return the manifest that the host loads; None before there is one."""
        text = self._item(f"manifest#{WALLET}").get("manifest", {}).get("S")
        if text is None:
            return None
        return decode(bytes.fromhex(decode(text.encode(), LoadManifest).manifest), Manifest)

    def place(self, name: str) -> int:
        """Return the number of the transaction of a withdrawal, the same at every call."""
        found = self._item(f"place#{name}")
        if found:
            return int(found["nonce"]["N"])
        order = self._item(f"nonce#{WALLET}")
        free = sorted(int(number) for number in order.get("returned", {}).get("NS", []))
        following = int(order.get("following", {"N": "0"})["N"])
        nonce = free[0] if free else following
        if free:
            taken = {
                "UpdateExpression": "DELETE returned :nonces",
                "ConditionExpression": "contains(returned, :nonce)",
                "ExpressionAttributeValues": {":nonces": {"NS": [str(nonce)]}, ":nonce": {"N": str(nonce)}},
            }
        else:
            taken = {
                "UpdateExpression": "SET following = :next",
                "ConditionExpression": "attribute_not_exists(following) OR following = :nonce",
                "ExpressionAttributeValues": {":next": {"N": str(nonce + 1)}, ":nonce": {"N": str(nonce)}},
            }
        place = {"id": {"S": f"place#{name}"}, "nonce": {"N": str(nonce)}}
        self._client.transact_write_items(
            TransactItems=[
                {"Update": {"TableName": self._table, "Key": {"id": {"S": f"nonce#{WALLET}"}}, **taken}},
                {"Put": {"TableName": self._table, "Item": place, "ConditionExpression": "attribute_not_exists(id)"}},
            ]
        )
        return nonce

    def give_back(self, name: str) -> None:
        """Let another withdrawal have the place of one that was not signed; done twice, it is done once."""
        found = self._item(f"place#{name}")
        if not found:
            return
        try:
            self._client.transact_write_items(
                TransactItems=[
                    {
                        "Update": {
                            "TableName": self._table,
                            "Key": {"id": {"S": f"place#{name}"}},
                            "UpdateExpression": "SET is_given_back = :yes",
                            "ConditionExpression": "attribute_not_exists(is_given_back)",
                            "ExpressionAttributeValues": {":yes": {"BOOL": True}},
                        }
                    },
                    {
                        "Update": {
                            "TableName": self._table,
                            "Key": {"id": {"S": f"nonce#{WALLET}"}},
                            "UpdateExpression": "ADD returned :nonces",
                            "ExpressionAttributeValues": {":nonces": {"NS": [found["nonce"]["N"]]}},
                        }
                    },
                ]
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _CANCELED or not self._item(f"place#{name}").get("is_given_back"):
                raise

    def ask(self, request: SignWithdrawal, now_s: int) -> None:
        """Put a request for whichever host comes first; one that is there is left as it is."""
        item = {
            "id": {"S": request.withdrawal.request_id},
            "waiting": {"S": "withdrawal"},
            "asked_at": {"N": str(now_s)},
            "request": {"S": encode(request).decode()},
        }
        try:
            self._client.put_item(TableName=self._table, Item=item, ConditionExpression="attribute_not_exists(id)")
        except ClientError as error:
            if error.response["Error"]["Code"] != _TAKEN:
                raise

    def answer(self, name: str) -> tuple[Reply | None, int]:
        """Return the signer's answer, None while there is none, and when it was asked (seconds since 1970)."""
        found = self._item(name)
        text = found.get("answer", {}).get("S")
        return decode_reply(text.encode()) if text else None, int(found["asked_at"]["N"])

    def _item(self, name: str) -> dict[str, Any]:
        key = {"id": {"S": name}}
        found: dict[str, Any] = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return dict(found.get("Item", {}))


def transfer(found: dict[str, Any], fee: int, nonce: int) -> Withdrawal:
    """Return the transfer that pays out a withdrawal, from its attributes; the house keeps `fee` of it."""
    return Withdrawal(
        request_id=found["id"],
        wallet=WALLET,
        chain=found["chain"],
        asset=found["asset"],
        destination=found["destination"],
        amount=found["amount"] - fee,
        nonce=nonce,
        fee_per_gas_max=FEE_PER_GAS_MAX,
        priority_fee_per_gas_max=PRIORITY_FEE_MAX,
    )
