"""API keys: read from DynamoDB, their HMAC secrets opened by KMS, kept for a short while.

A key is refreshed in the background once it is older than FRESH_S, so that its owner never waits for it again, and
counts no longer after STALE_S: that bounds how long a revoked key can still be used. Keys that do not exist are
remembered, too, so that guessing costs the table nothing. Names never seen are read a bounded number at a time, and in
threads of their own: a flood of them delays no refresh.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import Any, Final, Protocol

import boto3
from boto3.dynamodb.types import TypeDeserializer
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from runtime.gateway.auth import ED25519, HMAC, RSA, ApiKey, BadKeyError, hmac_verifier, public_key_verifier
from runtime.gateway.errors import BAD_API_KEY_FORMAT, DISCONNECTED, OVERLOADED

logger = logging.getLogger(__name__)

FORMAT: Final = re.compile(r"[A-Za-z0-9_-]{16,128}", re.ASCII)
FRESH_S: Final = 10.0
STALE_S: Final = 30.0
UNKNOWN_S: Final = 5.0
"""How long the absence of a key is remembered."""
KEYS_MAX: Final = 50_000
UNKNOWN_MAX: Final = 50_000
READING_MAX: Final = 256
"""Keys not known yet that are being read at once; more are refused."""
_THREADS: Final = 4
"""For refreshes, and as many for keys not known yet."""
_TIMEOUT_S: Final = 3


class KeySource(Protocol):
    """Where keys come from; its methods block."""

    def fetch(self, api_key: str) -> Mapping[str, Any] | None:
        """Return the item of the key as plain Python values, or None."""

    def open_secret(self, api_key: str, ciphertext: bytes) -> bytes:
        """Return the HMAC secret of the key."""


class AwsKeySource:
    """The table and KMS. The encryption context ties a ciphertext to its key: it cannot be moved to another."""

    def __init__(self, table: str) -> None:
        """Read from the DynamoDB table called `table`."""
        config = Config(
            connect_timeout=_TIMEOUT_S,
            read_timeout=_TIMEOUT_S,
            retries={"total_max_attempts": 2, "mode": "standard"},
            max_pool_connections=2 * _THREADS,
        )
        self._table = table
        self._dynamodb = boto3.client("dynamodb", config=config)
        self._kms = boto3.client("kms", config=config)
        self._deserialize = TypeDeserializer().deserialize

    def fetch(self, api_key: str) -> Mapping[str, Any] | None:
        """Return the item of the key. botocore's errors pass through."""
        item = self._dynamodb.get_item(TableName=self._table, Key={"api_key": {"S": api_key}}).get("Item")
        return {name: self._deserialize(value) for name, value in item.items()} if item else None

    def open_secret(self, api_key: str, ciphertext: bytes) -> bytes:
        """Return the secret that `ciphertext` holds. botocore's errors pass through."""
        opened = self._kms.decrypt(CiphertextBlob=ciphertext, EncryptionContext={"api_key": api_key})
        secret: bytes = opened["Plaintext"]
        return secret


class _Entry(Struct):
    key: ApiKey
    material: bytes
    """What the verifier was made of; while it stays the same, nothing needs to be opened again."""
    read_s: float
    is_refreshing: bool = False


class ApiKeys:
    """A bounded cache in front of a KeySource."""

    def __init__(self, source: KeySource, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Read through to `source`, in threads of its own."""
        self._source = source
        self._clock_s = clock_s
        self._known: OrderedDict[str, _Entry] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._reading: dict[str, asyncio.Task[ApiKey | None]] = {}
        """Reads of keys that were not known when they began."""
        self._refreshing: dict[str, asyncio.Task[ApiKey | None]] = {}
        self._read_threads = ThreadPoolExecutor(_THREADS, "api-keys")
        self._refresh_threads = ThreadPoolExecutor(_THREADS, "api-keys-refresh")

    def close(self) -> None:
        """Let go of the threads."""
        for threads in (self._read_threads, self._refresh_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    def cached(self, api_key: str) -> ApiKey | None:
        """Return the key if it was read a short while ago, without waiting."""
        entry = self._known.get(api_key)
        if entry is None:
            return None
        age_s = self._clock_s() - entry.read_s
        if age_s > STALE_S:
            return None
        if age_s > FRESH_S and not entry.is_refreshing:
            entry.is_refreshing = True
            self._read(api_key)
        return entry.key

    async def get(self, api_key: str) -> ApiKey | None:
        """Return the key, or None for an unknown or disabled one.

        Raises -2014, -1001 when it cannot be read, or -1008 when too many others are being read.
        """
        if (key := self.cached(api_key)) is not None:
            return key
        if FORMAT.fullmatch(api_key) is None:
            raise BAD_API_KEY_FORMAT.error()
        missed_s = self._unknown.get(api_key)
        if missed_s is not None and self._clock_s() - missed_s <= UNKNOWN_S:
            return None
        return await asyncio.shield(self._read(api_key))

    def _read(self, api_key: str) -> "asyncio.Task[ApiKey | None]":
        """Return the one read of this key that is under way, starting it if there is none. Raises -1008."""
        entry = self._known.get(api_key)
        reading = self._reading if entry is None else self._refreshing
        task = reading.get(api_key)
        if task is None:
            if entry is None and len(reading) >= READING_MAX:
                raise OVERLOADED.error()
            task = reading[api_key] = asyncio.create_task(self._read_now(api_key, entry))
            task.add_done_callback(lambda done: _read_ended(reading, api_key, done))
        return task

    async def _read_now(self, api_key: str, entry: _Entry | None) -> ApiKey | None:
        loop = asyncio.get_running_loop()
        threads = self._read_threads if entry is None else self._refresh_threads
        try:
            read = await loop.run_in_executor(threads, self._load, api_key, entry)
        except (BotoCoreError, ClientError) as error:
            logger.warning("an API key cannot be read: %s", type(error).__name__)
            if entry is not None:
                entry.is_refreshing = False
            raise DISCONNECTED.error() from error
        if read is None:
            self._known.pop(api_key, None)
            _remember(self._unknown, api_key, self._clock_s(), UNKNOWN_MAX)
            return None
        _remember(self._known, api_key, read, KEYS_MAX)
        return read.key

    def _load(self, api_key: str, entry: _Entry | None) -> _Entry | None:
        """Read the key and prepare its verifier; runs in a thread."""
        item = self._source.fetch(api_key)
        if item is None or not item.get("enabled", False):
            return None
        now_s = self._clock_s()
        try:
            material = _material(item)
            if entry is not None and entry.material == material:
                verify = entry.key.verify
            elif item["kind"] == HMAC:
                verify = hmac_verifier(self._source.open_secret(api_key, material))
            else:
                verify = public_key_verifier(item["kind"], material.decode())
            key = ApiKey(
                api_key=api_key,
                account=int(item["account_id"]),
                kind=item["kind"],
                tier=item["tier"],
                permissions=frozenset(item["permissions"]),
                verify=verify,
                networks=tuple(ip_network(text, strict=False) for text in sorted(item.get("ip_list") or ())),
            )
        except (KeyError, TypeError, ValueError) as error:
            logger.error("the stored API key of account %s is unusable: %s", item.get("account_id"), error)  # noqa: TRY400 - no trace: it could show material
            return None
        return _Entry(key, material, now_s)


def _read_ended(
    reading: "dict[str, asyncio.Task[ApiKey | None]]", api_key: str, task: "asyncio.Task[ApiKey | None]"
) -> None:
    del reading[api_key]
    if not task.cancelled():
        task.exception()  # whoever waits for it sees it; a background refresh tries again at the next use


def _material(item: Mapping[str, Any]) -> bytes:
    if item["kind"] not in (HMAC, RSA, ED25519):
        raise BadKeyError(f"kind must be one of {HMAC}, {RSA}, {ED25519}, was {item['kind']!r}")
    return bytes(item["secret"]) if item["kind"] == HMAC else str(item["public_key"]).encode()


def _remember(cache: OrderedDict[str, Any], api_key: str, value: object, most: int) -> None:
    """Store under `api_key` as the newest, forgetting the oldest past `most`."""
    cache[api_key] = value
    cache.move_to_end(api_key)
    if len(cache) > most:
        cache.popitem(last=False)
