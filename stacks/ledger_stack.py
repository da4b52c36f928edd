"""The ledger: double-entry postings, orders and trades, written to the database from the engine's events."""

from aws_cdk import Duration
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.event_function import EventFunction
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.ledger_database import WRITER
from exchange_constructs.log_metric import LEDGER_STOPPED, LogMetrics
from exchange_constructs.process import Process
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack


class LedgerStack(ExchangeStack):
    """The one service that writes to the database, and the function that changes its schema when the service starts."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        platform: FunctionPlatform,
        data: DataStack,
        engine: EngineStack,
    ) -> None:
        """Create the service, let it reach engine and database, and let the function own the database."""
        super().__init__(scope, construct_id, config=config, description="Ledger")
        self.migrator = EventFunction(
            self,
            "Migrator",
            config=config,
            platform=platform,
            service="ledger",
            handler="handler_migrator.bring_forward",
            description="Brings the schema of the database forward, as its owner",
            environment={"DATABASE_URL": data.database.url(WRITER)},
            timeout=Duration.minutes(15),
            concurrency=1,
        )
        data.database.let_own(self.migrator)
        self.ledger = FargateService(
            self,
            "Ledger",
            config=config,
            size=config.ledger,
            process=Process(
                service="ledger",
                module="runtime.ledger.main",
                port=7003,
                environment={
                    "ENGINE_ADDRESS": engine.engine.address,
                    "DATABASE_URL": data.database.url(WRITER),
                    "MIGRATOR_FUNCTION": self.migrator.function.function_name,
                    "PRICE_MONTHS": str(config.records.price_months),
                },
            ),
            cluster=engine.cluster,
            namespace=engine.namespace,
            catalogue=data.catalogue,
            reads_catalogue=False,  # it writes down what the engine did, whatever the markets are now
            logs_key=keys.logs,
        )
        data.database.grant_sign_in(self.ledger.role, WRITER)
        self.migrator.grant_call(self.ledger.role)
        self.ledger.connections.allow_to_default_port(engine.engine.connections, "the engine's events")
        self.ledger.connections.allow_to_default_port(data.database.connections, "postings, orders, trades")
        LogMetrics(self, "Metrics", log_group=self.ledger.log_group, metrics=(LEDGER_STOPPED,), of="ledger")
