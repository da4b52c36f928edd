"""Market data: books, candles and the trade tape, made from the engine's events."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.ledger_database import READER
from exchange_constructs.log_metric import TRADES_GIVEN_UP, TRADES_STUCK, LogMetrics
from exchange_constructs.process import Process
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack


class MarketDataStack(ExchangeStack):
    """The service that gateways take public data from, and that publishes every trade."""

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
        """Create the service and let it reach engine, database and trade stream."""
        super().__init__(scope, construct_id, config=config, description="Market data")
        self.market_data = FargateService(
            self,
            "MarketData",
            config=config,
            size=config.market_data,
            process=Process(
                service="market_data",
                module="runtime.market_data.main",
                port=7002,
                environment={
                    "ENGINE_ADDRESS": engine.engine.address,
                    "DATABASE_URL": data.database.url(READER),
                    "TRADE_STREAM": data.trades.stream.stream_name,
                },
            ),
            cluster=engine.cluster,
            namespace=engine.namespace,
            catalogue=data.catalogue,
            logs_key=keys.logs,
        )
        data.database.grant_sign_in(self.market_data.role, READER)
        data.trades.grant_publish(self.market_data.role)
        self.market_data.connections.allow_to_default_port(engine.engine.connections, "the engine's events")
        self.market_data.connections.allow_to_default_port(data.database.connections, "past trades")
        LogMetrics(
            self,
            "Metrics",
            log_group=self.market_data.log_group,
            metrics=(TRADES_STUCK, TRADES_GIVEN_UP),
            of="market_data",
        )
