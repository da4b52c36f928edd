"""`python -m runtime.wallet_parent.main`: brings requests from the table to the enclave and answers back.

Nothing here decides anything: what a host could do at worst is answer late or not at all. A request stays in the
table until it has an answer, so a host that dies loses none; repeated, a request gets the same bytes.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.shared import log, shell
from runtime.shared.frames import FrameError, frame, read_frame
from runtime.shared.settings import ADDRESS_PATTERN, read_settings, split_address
from runtime.wallet_enclave.messages import (
    MESSAGE_BYTES_MAX,
    CreateWallet,
    Describe,
    Done,
    LoadManifest,
    Message,
    MessageError,
    OpenWallet,
    Refused,
    Reply,
    SignWithdrawal,
    UseCredentials,
    WalletOpened,
    decode,
    decode_reply,
    decode_request,
    encode,
)
from runtime.wallet_enclave.transport import open_connection
from runtime.wallet_parent.forwarder import forward

logger = logging.getLogger(__name__)
POLL_S: Final = 1.0
BATCH_MAX: Final = 10
ENCLAVE_TIMEOUT_S: Final = 30.0
PREPARE_S: Final = 300.0
"""How often credentials, wallet and manifest are brought up to date."""
_INDEX: Final = "Waiting"
WITHDRAWAL: Final = "withdrawal"
CEREMONY: Final = "ceremony"
ANSWERED: Final[Mapping[str, tuple[type[Message], ...]]] = {
    WITHDRAWAL: (SignWithdrawal,),
    CEREMONY: (CreateWallet, Describe),
}
"""What may be asked, by the value of `waiting`."""
_RETRY_MAX_S: Final = 30.0


class ParentSettings(BaseSettings):
    """Environment variables of a host."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore")

    service: str
    listen_host: str = "127.0.0.1"
    listen_port: int = Field(ge=1, le=65_535)
    aws_region: str
    enclave: str
    kms_forwarder: str
    kms_address: str = Field(pattern=ADDRESS_PATTERN)
    signing_table: str = Field(min_length=1)
    wallet: str = Field(pattern=r"^[a-z0-9-]{1,64}$")


class NotReadyError(Exception):
    """The enclave cannot sign yet; the message says what is missing."""


class Parent:
    """One host's work: prepare the enclave, then answer what waits."""

    def __init__(self, settings: ParentSettings, table: Any, credentials: Any) -> None:  # noqa: ANN401 - boto3's
        """Work on `table` with `credentials` (a botocore session's) for the enclave."""
        self._settings = settings
        self._table = table
        self._credentials = credentials
        self._manifest = ""
        self._prepared_at = float("-inf")

    async def turn(self) -> int:
        """Answer what waits now; return how many. Raises NotReadyError, OSError, TimeoutError and botocore's errors.

        A ceremony comes before there is a wallet: the enclave makes one, or shows what it is. A withdrawal waits until
        wallet and manifest are in place, so that a young host refuses nothing that the next turn could sign.
        """
        is_old = time.monotonic() - self._prepared_at > PREPARE_S
        if is_old:
            frozen = self._credentials.get_frozen_credentials()
            await self._expected(UseCredentials(frozen.access_key, frozen.secret_key, frozen.token or ""), Done)
        count = await self._answer_all(CEREMONY)
        if is_old:
            await self._prepare()
        return count + await self._answer_all(WITHDRAWAL)

    async def _answer_all(self, kind: str) -> int:
        waiting = await asyncio.to_thread(self._waiting, kind)
        for name in waiting:
            await self._answer(name, kind)
        return len(waiting)

    async def _prepare(self) -> None:
        wallet = self._settings.wallet
        sealed = (await asyncio.to_thread(self._item, f"wallet#{wallet}")).get("sealed")
        if sealed is None:
            raise NotReadyError(f"no sealed wallet {wallet} is in the table yet")
        opened = await self._asked(OpenWallet(wallet, sealed))
        if not isinstance(opened, WalletOpened) and "is open" not in opened.reason:
            raise NotReadyError(f"wallet {wallet}: {opened.reason}")
        manifest = (await asyncio.to_thread(self._item, f"manifest#{wallet}")).get("manifest")
        if manifest is None:
            raise NotReadyError(f"no manifest of wallet {wallet} is in the table yet")
        if manifest != self._manifest:
            loaded = await self._asked(decode(manifest.encode(), LoadManifest))
            if isinstance(loaded, Refused) and "which was in force" not in loaded.reason:
                raise NotReadyError(f"manifest of {wallet}: {loaded.reason}")
            self._manifest = manifest
        self._prepared_at = time.monotonic()

    def _item(self, name: str) -> dict[str, str]:
        found: dict[str, str] = self._table.get_item(Key={"id": name}, ConsistentRead=True).get("Item", {})
        return found

    def _waiting(self, kind: str) -> list[str]:
        answer = self._table.query(
            IndexName=_INDEX,
            KeyConditionExpression="waiting = :kind",
            ExpressionAttributeValues={":kind": kind},
            Limit=BATCH_MAX,
        )
        return [item["id"] for item in answer["Items"]]

    async def _answer(self, name: str, kind: str) -> None:
        request = (await asyncio.to_thread(self._item, name)).get("request", "")
        reply: Message
        try:
            asked = decode_request(request.encode())
            if isinstance(asked, ANSWERED[kind]):
                reply = await self._asked(asked)
            else:
                reply = Refused(f"{type(asked).__name__} is no {kind}")
        except MessageError as error:
            reply = Refused(f"the item has no request: {error}")
        await asyncio.to_thread(self._keep, name, encode(reply).decode())
        logger.info("answered", extra={"request": name, "reply": type(reply).__name__})

    def _keep(self, name: str, reply: str) -> None:
        """Write the answer unless another host has written one."""
        with contextlib.suppress(self._table.meta.client.exceptions.ConditionalCheckFailedException):
            self._table.update_item(
                Key={"id": name},
                UpdateExpression="SET answer = :answer REMOVE waiting",
                ConditionExpression="attribute_exists(id) AND attribute_not_exists(answer)",
                ExpressionAttributeValues={":answer": reply},
            )

    async def _expected(self, message: Message, kind: type[Message]) -> None:
        reply = await self._asked(message)
        if not isinstance(reply, kind):
            raise NotReadyError(f"the enclave answered {type(reply).__name__}")

    async def _asked(self, message: Message) -> Any:  # noqa: ANN401 - one of the replies
        reader, writer = await open_connection(self._settings.enclave, ENCLAVE_TIMEOUT_S)
        with contextlib.closing(writer):
            writer.write(frame(encode(message), MESSAGE_BYTES_MAX))
            async with asyncio.timeout(ENCLAVE_TIMEOUT_S):
                reply: Reply = decode_reply(await read_frame(reader, MESSAGE_BYTES_MAX))
        return reply


async def work(parent: Parent, stopping: asyncio.Event) -> None:
    """Turn until `stopping`; what fails is logged and tried again, ever more slowly."""
    pause = POLL_S
    while not stopping.is_set():
        try:
            await parent.turn()
        except (NotReadyError, OSError, TimeoutError, EOFError, FrameError, MessageError) as error:
            logger.warning("the enclave cannot be used: %s", error)
            pause = min(2 * pause, _RETRY_MAX_S)
        except (BotoCoreError, ClientError) as error:
            logger.warning("the table cannot be used: %s", error)
            pause = min(2 * pause, _RETRY_MAX_S)
        else:
            pause = POLL_S
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)


async def main(stopping: asyncio.Event) -> None:
    """Serve until `stopping`. The open port tells the host that this process lives."""
    settings = read_settings(ParentSettings)
    log.configure(settings.service)
    session = boto3.Session(region_name=settings.aws_region)
    parent = Parent(settings, session.resource("dynamodb").Table(settings.signing_table), session.get_credentials())
    host, port = split_address(settings.kms_address)

    async def alive(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with (
        await forward(settings.kms_forwarder, host, port),
        await asyncio.start_server(alive, settings.listen_host, settings.listen_port),
    ):
        logger.info("ready", extra={"wallet": settings.wallet})
        await work(parent, stopping)


if __name__ == "__main__":
    shell.run(main)
