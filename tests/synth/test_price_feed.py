"""The price feed: the only service with a way out, and that way leads to the venues alone."""

import json
from typing import Any
from urllib.parse import urlsplit

from runtime.price_feed.venues import VENUES


def task(exchange: Any) -> dict[str, str]:
    ((_, found),) = [each for each in exchange.of_type("AWS::ECS::TaskDefinition") if each[0].startswith("PriceFeed/")]
    return {each["Name"]: exchange.text(each["Value"]) for each in found["ContainerDefinitions"][0]["Environment"]}


def test_the_firewall_passes_the_venues_and_nothing_else(exchange: Any) -> None:
    urls = json.loads(task(exchange)["VENUE_URLS"])
    assert urls == {venue.name: venue.url for venue in VENUES}
    hosts = {urlsplit(url).hostname for url in urls.values()}
    assert hosts == set(exchange.config.egress.domains)  # the canary's own way is the only other
    assert set(exchange.config.hosts_outside) - hosts == {exchange.config.api_name}
    assert {urlsplit(url).scheme for url in urls.values()} == {"wss"}


def test_its_markets_are_traded_here(exchange: Any) -> None:
    symbols = json.loads(task(exchange)["REFERENCE_SYMBOLS"])
    assert symbols
    assert set(symbols) <= exchange.config.catalogue.market_by_symbol.keys()


def test_no_other_service_is_in_the_tier_with_a_way_out(exchange: Any) -> None:
    subnets = {
        path: {exchange.text(each) for each in service["NetworkConfiguration"]["AwsvpcConfiguration"]["Subnets"]}
        for path, service in exchange.of_type("AWS::ECS::Service")
    }
    outside = next(found for path, found in subnets.items() if path.startswith("PriceFeed/"))
    assert [path for path, found in subnets.items() if found & outside] == [
        path for path in subnets if path.startswith("PriceFeed/")
    ]
