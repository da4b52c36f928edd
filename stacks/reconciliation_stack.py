"""Reconciliation: whether the wallets hold what the ledger owes, and how much of it in which tier."""

import json
from dataclasses import asdict

from aws_cdk import Duration
from aws_cdk import aws_events as events
from constructs import Construct

from config.model import Environment
from config.reconciliation import CHAIN
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.ledger_database import READER
from exchange_constructs.log_metric import ASSETS_APART, NOT_COLD, RESERVES_SHORT, TOO_HOT, LogMetrics
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.deposits_stack import DepositsStack
from stacks.withdrawals_stack import WithdrawalsStack


class ReconciliationStack(ExchangeStack):
    """One function that reads everything and can change nothing: the ledger, the tables, and both nodes."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        data: DataStack,
        deposits: DepositsStack,
        withdrawals: WithdrawalsStack,
    ) -> None:
        """Create the function, its clock, and the metric that an alarm follows from."""
        super().__init__(scope, construct_id, config=config, description="Reconciliation of ledger and chains")
        (chain,) = (each for each in config.nodes.chains if each.name == CHAIN)
        reconciler = EventFunction(
            self,
            "Reconciler",
            config=config,
            platform=platform,
            service="reconciliation",
            handler="handler.reconcile",
            description="Compares the wallets on the chain with what the ledger owes",
            environment={
                "CHAIN": chain.name,
                "CHAIN_ASSETS": json.dumps([asdict(asset) for asset in chain.assets]),
                "WALLETS": json.dumps({each.name: each.address for each in config.reconciliation.wallets}),
                "HOT_BIPS_MAX": str(config.reconciliation.hot_bips_max),
                "COLD_BIPS_MIN": str(config.reconciliation.cold_bips_min),
                "DATABASE_URL": data.database.proxy_url(READER),
                "CATALOGUE_PARAMETER": data.catalogue.name,
                "DEPOSIT_TABLE": deposits.deposits.table_name,
                "WITHDRAWAL_TABLE": withdrawals.register.table_name,
                "EVENT_BUS": data.events.bus.event_bus_name,
            },
            timeout=Duration.minutes(10),
            memory_mib=1024,
            concurrency=1,
        )
        reconciler.function.add_environment("NODE_ADDRESSES", deposits.let_ask_nodes(reconciler, chain.name))
        data.database.let_read(reconciler)
        data.catalogue.grant_read(reconciler.role)
        deposits.deposits.grant_calls(reconciler.role, "Scan")
        withdrawals.register.grant_calls(reconciler.role, "GetItem")
        data.events.grant_publish(reconciler.role)
        reconciler.on_schedule(
            "Clock",
            schedule=events.Schedule.rate(Duration.minutes(config.reconciliation.every_minutes)),
            description="Ledger and chain are compared",
        )
        LogMetrics(
            self,
            "Metrics",
            log_group=reconciler.log_group,
            metrics=(ASSETS_APART, RESERVES_SHORT, TOO_HOT, NOT_COLD),
        )
