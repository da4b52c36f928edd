"""What operators see, and what calls them."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.exchange_alarms import ExchangeAlarms
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack
from stacks.foundation_stack import FoundationStack
from stacks.gateway_stack import GatewayStack
from stacks.ledger_stack import LedgerStack
from stacks.market_data_stack import MarketDataStack


class ObservabilityStack(ExchangeStack):
    """Deployed last: it watches all others and changes none."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        data: DataStack,
        engine: EngineStack,
        market_data: MarketDataStack,
        ledger: LedgerStack,
        gateway: GatewayStack,
    ) -> None:
        """Create dashboard and alarms, in the order of the path of an order."""
        super().__init__(scope, construct_id, config=config, description="Dashboard and alarms")
        alarms = ExchangeAlarms(self, "Alarms", config=config, operators=foundation.operators)
        alarms.balancer("stream", namespace="AWS/NetworkELB", dimensions=gateway.stream_front.dimensions)
        alarms.balancer("rest", namespace="AWS/ApplicationELB", dimensions=gateway.rest_front.dimensions)
        alarms.service(gateway.rest, task_count=config.rest.task_count)
        alarms.service(engine.engine, task_count=config.engine.task_count)
        alarms.service(market_data.market_data, task_count=config.market_data.task_count)
        alarms.service(ledger.ledger, task_count=config.ledger.task_count)
        alarms.journal(data.journal)
        alarms.database(data.database, capacity_units_max=config.database.capacity_units_max)
        alarms.cache(data.cache)
        alarms.api_keys(data.api_keys)
        alarms.trades(data.trades)
        alarms.events(data.events)
