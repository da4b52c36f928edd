"""What both entry points are made of: their settings, and an `Exchange` with its links up."""

import asyncio
import contextlib
import functools
import gc
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Final, Self

from pydantic import Field, model_validator

from runtime.gateway.api_keys import ApiKeys, AwsKeySource
from runtime.gateway.cache_login import VALKEY_URL_PATTERN
from runtime.gateway.dispatch import Exchange
from runtime.gateway.limit_models import LimitSettings
from runtime.gateway.limit_sharing import ValkeyCounts, share_counts
from runtime.gateway.limits import Limiter
from runtime.gateway.listings import Listings
from runtime.gateway.market_link import MarketLink
from runtime.ledger.history import History, open_history
from runtime.shared.engine_link import EngineLink
from runtime.shared.pulse import beat
from runtime.shared.settings import (
    ADDRESS_PATTERN,
    ADDRESSES_PATTERN,
    DATABASE_URL_PATTERN,
    Login,
    ServiceSettings,
    database_login,
    read_catalogue_parameter,
)
from runtime.shared.tasks import end
from runtime.shared.telemetry import Telemetry

logger = logging.getLogger(__name__)

GARBAGE_MIN: Final = 20_000
"""Objects made and not freed before the collector looks: a request leaves no cycles, so that is rarely worth it."""

DRAIN_TIMEOUT_S: Final = 10.0
"""How long requests under way may take when the service is told to stop."""


class GatewaySettings(ServiceSettings):
    """Environment variables of both entry points."""

    engine_address: str = Field(pattern=ADDRESSES_PATTERN)
    market_data_address: str = Field(pattern=ADDRESS_PATTERN)
    database_url: str = Field(pattern=DATABASE_URL_PATTERN)
    api_key_table: str = Field(min_length=1)
    valkey_url: str = Field(pattern=VALKEY_URL_PATTERN)
    valkey_cache: str = Field(min_length=1)
    """Name of the cache, which a token is made for."""
    request_weight_per_minute: int = Field(default=LimitSettings().weight_per_minute, ge=1)
    refusals_before_ban: int = Field(default=LimitSettings().refusals_before_ban, ge=1)
    connects_per_5_minutes: int = Field(default=LimitSettings().connects_per_5_minutes, ge=1)
    connections_max: int = Field(default=20_000, ge=1)
    """Open connections of one process, whoever they belong to."""
    trusted_proxy: str = ""
    """Address of a front door that says whom it speaks for; none in AWS, where the load balancer keeps addresses."""

    @model_validator(mode="after")
    def _refuse_useless(self) -> Self:
        if self.engine_address == self.market_data_address:
            raise ValueError("MARKET_DATA_ADDRESS and ENGINE_ADDRESS are the same; they are two services")
        return self

    @property
    def limits(self) -> LimitSettings:
        """What clients are allowed."""
        return LimitSettings(
            weight_per_minute=self.request_weight_per_minute,
            refusals_before_ban=self.refusals_before_ban,
            connects_per_5_minutes=self.connects_per_5_minutes,
        )


@contextlib.asynccontextmanager
async def open_exchange(settings: GatewaySettings, stopping: asyncio.Event) -> AsyncIterator[Exchange | None]:
    """Open everything behind the API, and close it in the end. Gives None when told to stop before all was there."""
    catalogue = read_catalogue_parameter(settings.catalogue_parameter)
    limiter = Limiter(settings.limits, catalogue)
    counts = ValkeyCounts(settings.valkey_url, settings.valkey_cache)
    keys = ApiKeys(AwsKeySource(settings.api_key_table))
    telemetry = Telemetry(settings.service, settings.otlp_address, trace_one_in=settings.trace_one_in)
    engine = EngineLink(settings.engine_address)
    market = MarketLink(settings.market_data_address)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(keys.close)
        stack.push_async_callback(counts.close)
        await engine.start()
        stack.push_async_callback(engine.stop)
        await market.start()
        stack.push_async_callback(market.stop)
        await stack.enter_async_context(
            running(share_counts(limiter, counts), beat(functools.partial(pulse, limiter, engine, market), telemetry))
        )
        history = await _history(database_login(settings.database_url), stopping)
        if history is None:
            yield None
            return
        stack.push_async_callback(history.close)
        exchange = Exchange(
            listings=Listings(catalogue),
            engine=engine,
            market=market,
            ledger=history,
            keys=keys,
            limiter=limiter,
            telemetry=telemetry,
        )
        gc.collect()
        gc.freeze()  # what exists by now stays for good: the collector need not look at it again
        gc.set_threshold(GARBAGE_MIN)
        yield exchange


def pulse(limiter: Limiter, engine: EngineLink, market: MarketLink) -> dict[str, int]:
    """Return 1 while limits are not shared with the other gateways, and while engine or market data is out of reach."""
    return {"limits_alone": int(limiter.is_alone), "cut_off": int(not (engine.connected and market.connected))}


async def _history(login: Login, stopping: asyncio.Event) -> History | None:
    """Return the reader of the ledger's database once it is there, or None when told to stop before."""
    opening = asyncio.create_task(open_history(login))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((opening, stopped), return_when=asyncio.FIRST_COMPLETED)
    await end(stopped)
    if not opening.done():
        await end(opening)
        return None
    return opening.result()


@contextlib.asynccontextmanager
async def running(*endless: Coroutine[object, object, None]) -> AsyncIterator[None]:
    """Run what has no end beside the body. If it ends all the same, the body is cancelled and an ExceptionGroup raised.

    A service that goes on without one of its parts looks healthy and is not; one that stops is started again.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_without_end(each)) for each in endless]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


async def _without_end(endless: Coroutine[object, object, None]) -> None:
    await endless
    raise RuntimeError(f"a background task has ended: {endless!r}")
