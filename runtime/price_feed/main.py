"""The price feed: follows other venues and gives the engine's price bands their reference. One process."""

import asyncio
import logging
from dataclasses import replace
from typing import Final

from pydantic import Field, field_validator

from runtime.price_feed.feed import Feed
from runtime.price_feed.reference import MarketPrice, Rules
from runtime.price_feed.venues import VENUES, Venue
from runtime.shared import log, shell
from runtime.shared.business_events import EventPublisher
from runtime.shared.catalogue import Catalogue, CatalogueError
from runtime.shared.engine_link import EngineLink
from runtime.shared.messages import AskMarket, MarketState, Reply, SetReferencePrice
from runtime.shared.settings import (
    ADDRESSES_PATTERN,
    ServiceSettings,
    read_catalogue_parameter,
    read_settings,
    refuse_to_start,
)

logger = logging.getLogger(__name__)

TELL_TIMEOUT_S: Final = 1.0
"""A price that the engine could not sequence within this is old: the next one follows."""


class FeedSettings(ServiceSettings):
    """Environment of the feed."""

    engine_address: str = Field(pattern=ADDRESSES_PATTERN)
    event_bus: str = Field(min_length=1)
    reference_symbols: tuple[str, ...]
    """Markets that every venue lists, as JSON."""
    venue_urls: dict[str, str]
    """Where each venue is, by name, as JSON."""

    @field_validator("venue_urls")
    @classmethod
    def _known(cls, urls: dict[str, str]) -> dict[str, str]:
        known = {venue.name for venue in VENUES}
        if unknown := sorted(urls.keys() - known):
            raise ValueError(f"{', '.join(unknown)}: the venues known are {', '.join(sorted(known))}")
        for name, url in urls.items():
            if not url.startswith(("wss://", "ws://127.0.0.1:")):
                raise ValueError(f"{name}: a URL begins with wss://, was {url!r}")
        return urls


def prices_of(settings: FeedSettings, catalogue: Catalogue) -> list[MarketPrice]:
    """Return a price for each symbol that is asked for. Raises CatalogueError for one that is not traded."""
    unknown = [symbol for symbol in settings.reference_symbols if symbol not in catalogue.market_by_symbol]
    if unknown:
        raise CatalogueError(
            f"REFERENCE_SYMBOLS: {', '.join(unknown)} must be among {', '.join(catalogue.market_by_symbol)}"
        )
    return [MarketPrice(catalogue.market_by_symbol[symbol], Rules()) for symbol in settings.reference_symbols]


def venues_of(settings: FeedSettings) -> list[Venue]:
    """Return the venues to follow, each where the settings say that it is."""
    return [
        replace(venue, url=settings.venue_urls[venue.name]) for venue in VENUES if venue.name in settings.venue_urls
    ]


def feed_of(settings: FeedSettings, catalogue: Catalogue, link: EngineLink, events: EventPublisher) -> Feed:
    """Return the feed that `settings` describe. Raises CatalogueError."""

    async def send(command: SetReferencePrice) -> Reply:
        return (await link.send(command, TELL_TIMEOUT_S)).reply

    async def last_price(market: int) -> int:
        state = (await link.ask(AskMarket(market))).answer
        return state.last_price if isinstance(state, MarketState) else 0

    return Feed(
        prices_of(settings, catalogue),
        venues_of(settings),
        send=send,
        last_price=last_price,
        publish=events.publish,
    )


async def main(stopping: asyncio.Event) -> None:
    """Follow venues until told to stop."""
    settings = read_settings(FeedSettings)
    log.configure(settings.service)
    link = EngineLink(settings.engine_address)
    try:
        catalogue = await asyncio.to_thread(read_catalogue_parameter, settings.catalogue_parameter)
        feed = feed_of(settings, catalogue, link, EventPublisher(settings.event_bus))
    except CatalogueError as error:
        refuse_to_start(str(error))
    await link.start()
    server = await shell.presence(settings.listen_host, settings.listen_port)
    following, stopped = asyncio.create_task(feed.forever()), asyncio.create_task(stopping.wait())
    try:
        async with server:
            done, _ = await asyncio.wait((following, stopped), return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
    finally:
        for task in (following, stopped):
            task.cancel()
        await asyncio.gather(following, stopped, return_exceptions=True)
        await link.stop()


if __name__ == "__main__":
    shell.run(main)
