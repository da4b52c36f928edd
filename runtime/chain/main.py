"""The deposit watcher of one chain: reads nodes, credits what is final, tells of it. One process for each chain.

Whatever fails is tried again from what is stored, with growing pauses; a chain that was reorganized deeper than what
is kept ends the process, for people to look at.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Final, Literal

import boto3
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import Field

from runtime.accounts.operations import deposit
from runtime.chain.addresses import deposit_address
from runtime.chain.follower import Follower, Parts
from runtime.chain.readers import READERS, AssetOnChain
from runtime.chain.rpc import NodeError, Rpc
from runtime.chain.store import Addresses, Deposits, StoreBusyError
from runtime.shared import log, shell
from runtime.shared.backoff import Backoff
from runtime.shared.business_events import EventPublisher, NotPublishedError
from runtime.shared.catalogue import Catalogue, CatalogueError
from runtime.shared.engine_link import EngineError, EngineLink
from runtime.shared.settings import (
    ADDRESSES_PATTERN,
    ServiceSettings,
    read_catalogue_parameter,
    read_settings,
    refuse_to_start,
)

logger = logging.getLogger(__name__)

POLL_S: Final = 1.0
ADDRESSES_KEPT: Final = 65_536
"""Worked out once each."""
PULSE_S: Final = 60.0
"""How often the watcher logs how far it is; an alarm reads these lines, and their absence."""
PAUSE_MIN_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
PASSING: Final = (
    NodeError,
    StoreBusyError,
    NotPublishedError,
    EngineError,
    BotoCoreError,
    ClientError,
    OSError,
)
"""What may be over soon."""


class WatcherSettings(ServiceSettings):
    """Environment of a watcher."""

    chain: Literal["ethereum", "bitcoin"]
    node_addresses: str = Field(pattern=ADDRESSES_PATTERN)
    """Sidecars of at least two nodes; the first is read, all must agree."""
    chain_assets: tuple[AssetOnChain, ...]
    """As JSON."""
    engine_address: str = Field(pattern=ADDRESSES_PATTERN)
    address_table: str = Field(min_length=1)
    extended_public_key: str = Field(pattern=r"^[xt]pub[1-9A-HJ-NP-Za-km-z]{107}$")
    """Every address is a child of it."""
    deposit_table: str = Field(min_length=1)
    event_bus: str = Field(min_length=1)


def parts_of(settings: WatcherSettings, catalogue: Catalogue, link: EngineLink, dynamodb: Any, events: Any) -> Parts:  # noqa: ANN401
    """Return what a follower works with. Raises CatalogueError for an asset that the exchange does not have."""

    async def credit(account: int, asset: int, units: int, reference: str) -> bool:
        return await deposit(link, account, asset, units, reference)

    read = READERS[settings.chain]
    return Parts(
        chain=settings.chain,
        readers={address: read(Rpc(address), settings.chain_assets) for address in settings.node_addresses.split(",")},
        assets={asset.name: asset for asset in settings.chain_assets},
        exchange_assets={asset.name: catalogue.asset(asset.name) for asset in settings.chain_assets},
        addresses=Addresses(
            settings.address_table,
            dynamodb,
            address_of=lru_cache(ADDRESSES_KEPT)(
                partial(deposit_address, settings.chain, settings.extended_public_key)
            ),
        ),
        deposits=Deposits(settings.deposit_table, settings.chain, dynamodb),
        credit=credit,
        publish=EventPublisher(settings.event_bus, events).publish,
    )


class Run:
    """Followers, one after another."""

    def __init__(self, parts: Parts, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Follow the chain of `parts`."""
        self._parts = parts
        self._clock = clock
        self._agreed_at = clock()

    async def forever(self) -> None:
        """Follow the chain. Raises ReorganizedTooDeepError, and whatever is a bug."""
        backoff = Backoff(PAUSE_MIN_S, PAUSE_MAX_S)
        while True:
            try:
                follower = Follower(self._parts)
                await follower.resume()
                backoff.connected()
                while True:
                    moved = await follower.step()
                    self._agreed_at = self._clock() if follower.is_agreed else self._agreed_at
                    if not moved:
                        await asyncio.sleep(POLL_S)
            except PASSING as error:
                logger.warning("trying again: %s: %s", type(error).__name__, error)
                await backoff.pause()

    async def pulse(self) -> None:
        """Log how long ago the nodes last agreed."""
        while True:
            age = self._clock() - self._agreed_at
            logger.info("pulse", extra={"chain": self._parts.chain, "agreed_age_s": round(age)})
            await asyncio.sleep(PULSE_S)


async def main(stopping: asyncio.Event) -> None:
    """Watch until told to stop."""
    settings = read_settings(WatcherSettings)
    log.configure(settings.service)
    link = EngineLink(settings.engine_address)
    try:
        catalogue = await asyncio.to_thread(read_catalogue_parameter, settings.catalogue_parameter)
        run = Run(parts_of(settings, catalogue, link, boto3.client("dynamodb"), boto3.client("events")))
    except CatalogueError as error:
        refuse_to_start(str(error))
    await link.start()
    server = await shell.presence(settings.listen_host, settings.listen_port)
    tasks = [asyncio.create_task(each) for each in (run.forever(), run.pulse(), stopping.wait())]
    try:
        async with server:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.stop()


if __name__ == "__main__":
    shell.run(main)
