"""Who stands behind an account. Needs nothing but boto3, so functions and the Flink job share it."""

from collections.abc import Iterable
from typing import Any, Final

_KEYS_PER_READ: Final = 100


class Owners:
    """Who stands behind an account, where compliance has written it down; any other stands for itself."""

    def __init__(self, dynamodb: Any, table: str) -> None:  # noqa: ANN401 - boto3's resource
        """Read `table` (DynamoDB): `account` and `owner`."""
        self._dynamodb = dynamodb
        self._table = table

    def of(self, accounts: Iterable[int]) -> dict[int, str]:
        """Return the owners that are known of `accounts`."""
        wanted = sorted(set(accounts))
        owners: dict[int, str] = {}
        for at in range(0, len(wanted), _KEYS_PER_READ):
            keys: list[Any] = [{"account": account} for account in wanted[at : at + _KEYS_PER_READ]]
            request = {self._table: {"Keys": keys}}
            while request:
                answer = self._dynamodb.batch_get_item(RequestItems=request)
                owners |= {int(item["account"]): item["owner"] for item in answer["Responses"].get(self._table, ())}
                request = answer.get("UnprocessedKeys") or {}
        return owners
