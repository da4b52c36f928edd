"""Business metrics: each minute what markets, ledger and withdrawals do, as graphs, alarms and cases."""

import json

from aws_cdk import Duration
from aws_cdk import aws_events as events
from constructs import Construct

from config.model import Environment
from exchange_constructs.business_dashboard import BusinessDashboard
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.ledger_database import READER
from exchange_constructs.log_metric import (
    LEDGER_UNBALANCED,
    MARKETS_CLOSED,
    MARKETS_WIDE,
    TRADED,
    TRADES_FEW,
    WITHDRAWN_SHARE,
    LogMetrics,
)
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.engine_stack import EngineStack
from stacks.withdrawals_stack import WithdrawalsStack


class BusinessMetricsStack(ExchangeStack):
    """One function that reads and tells; a halt that follows from what it tells is for the controls."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        data: DataStack,
        engine: EngineStack,
        withdrawals: WithdrawalsStack,
    ) -> None:
        """Create the function, its clock, the metrics of its log, and the dashboard."""
        super().__init__(scope, construct_id, config=config, description="Business metrics, each minute")
        emitter = EventFunction(
            self,
            "Emitter",
            config=config,
            platform=platform,
            service="business_metrics",
            handler="handler.measure",
            description="Measures markets, the ledger's sum and withdrawals",
            environment={
                "CATALOGUE_PARAMETER": data.catalogue.name,
                "DATABASE_URL": data.database.proxy_url(READER),
                "ENGINE_ADDRESS": engine.engine.address,
                "EVENT_BUS": data.events.bus.event_bus_name,
                "HOUR_LIMITS": json.dumps({rule.asset: rule.hour_max for rule in config.withdrawals.rules}),
                "SPREAD_BIPS_MAX": str(config.business.spread_bips_max),
                "TRADES_MIN": str(config.business.trades_minute_min),
                "WITHDRAWAL_TABLE": withdrawals.register.table_name,
            },
            timeout=Duration.seconds(50),  # less than from one minute to the next
            concurrency=1,
            idempotent=True,
        )
        data.catalogue.grant_read(emitter.role)
        data.database.let_read(emitter)
        data.events.grant_publish(emitter.role)
        withdrawals.register.grant_calls(emitter.role, "GetItem")
        emitter.connections.allow_to_default_port(engine.engine.connections, "measures markets")
        emitter.on_schedule(
            "EveryMinute", schedule=events.Schedule.rate(Duration.minutes(1)), description="Business is measured"
        )
        LogMetrics(
            self,
            "Metrics",
            log_group=emitter.log_group,
            metrics=(LEDGER_UNBALANCED, MARKETS_CLOSED, MARKETS_WIDE, TRADED, TRADES_FEW, WITHDRAWN_SHARE),
        )
        BusinessDashboard(self, "Dashboard", config=config)
