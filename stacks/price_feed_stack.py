"""The price feed: what other venues pay, as the reference of our price bands."""

import json

from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.log_metric import APART, STOPPED, LogMetrics
from exchange_constructs.process import Process
from exchange_constructs.tiers import EGRESS
from runtime.price_feed.venues import VENUES
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack


class PriceFeedStack(ExchangeStack):
    """One service in the tier whose only way out is the list of venues, from fixed addresses.

    A venue's public feed needs no key, so there is no secret.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        data: DataStack,
        engine: EngineStack,
    ) -> None:
        """Create the service, let it reach the engine and the bus."""
        super().__init__(scope, construct_id, config=config, description="Price feed")
        self.price_feed = FargateService(
            self,
            "PriceFeed",
            config=config,
            size=config.price_feed,
            process=Process(
                service="price_feed",
                module="runtime.price_feed.main",
                port=7004,
                environment={
                    "ENGINE_ADDRESS": engine.engine.address,
                    "EVENT_BUS": data.events.bus.event_bus_name,
                    "REFERENCE_SYMBOLS": json.dumps(config.reference_symbols),
                    "VENUE_URLS": json.dumps({venue.name: venue.url for venue in VENUES}),
                },
            ),
            cluster=engine.cluster,
            namespace=engine.namespace,
            catalogue=data.catalogue,
            logs_key=keys.logs,
            tier=EGRESS,
        )
        data.events.grant_publish(self.price_feed.role)
        self.price_feed.connections.allow_to_default_port(engine.engine.connections, "reference prices")
        LogMetrics(self, "Metrics", log_group=self.price_feed.log_group, metrics=(STOPPED, APART))
