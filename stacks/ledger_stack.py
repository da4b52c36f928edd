"""The ledger: double-entry postings, orders and trades, written to the database from the engine's events."""

from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.ledger_database import WRITER
from exchange_constructs.log_metric import LEDGER_STOPPED, LogMetrics
from exchange_constructs.process import Process
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack


class LedgerStack(ExchangeStack):
    """The one service that writes to the database."""

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
        """Create the service and let it reach engine and database."""
        super().__init__(scope, construct_id, config=config, description="Ledger")
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
                    "DATABASE_OWNER_SECRET_ARN": data.database.owner_secret_arn,
                },
            ),
            cluster=engine.cluster,
            namespace=engine.namespace,
            catalogue=data.catalogue,
            reads_catalogue=False,  # it writes down what the engine did, whatever the markets are now
            logs_key=keys.logs,
        )
        data.database.grant_sign_in(self.ledger.role, WRITER)
        data.database.grant_own(self.ledger.role)
        self.ledger.connections.allow_to_default_port(engine.engine.connections, "the engine's events")
        self.ledger.connections.allow_to_default_port(data.database.connections, "postings, orders, trades")
        LogMetrics(self, "Metrics", log_group=self.ledger.log_group, metrics=(LEDGER_STOPPED,), of="ledger")
