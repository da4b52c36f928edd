"""Liquidity programme: what market makers promised beside what markets show, and the place of what will be judged."""

from aws_cdk import CfnOutput
from constructs import Construct

from config.model import Environment
from exchange_constructs.account_role import AccountRole
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.obligation_dashboard import ObligationDashboard
from exchange_constructs.record_table import RecordTable
from stacks.base_stack import ExchangeStack
from stacks.foundation_stack import FoundationStack


class LiquidityStack(ExchangeStack):
    """The monitor of obligations is not built: its function answers so, and nobody may write its table yet."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        platform: FunctionPlatform,
    ) -> None:
        """Create table, function, the role of those who may call it, and the dashboard."""
        super().__init__(scope, construct_id, config=config, description="Liquidity programme of market makers")
        RecordTable(self, "Obligations", config=config, key=foundation.keys.data, item_key="id")
        monitor = EventFunction(
            self,
            "Monitor",
            config=config,
            platform=platform,
            service="liquidity",
            description="Not built: says so",
            concurrency=1,
        )
        monitor.grant_call(AccountRole(self, "Manager", description="Operators who look after market makers"))
        CfnOutput(self, "MonitorFunctionName", value=monitor.function.function_name)
        ObligationDashboard(self, "Dashboard", config=config)
