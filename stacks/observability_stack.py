"""What operators see first: the state of every alarm, in the order of the path of an order."""

from collections.abc import Sequence
from typing import Final

from aws_cdk import ArnFormat, Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from config.model import Environment
from exchange_constructs.stack_alarms import StackAlarms
from stacks.base_stack import ExchangeStack

PATH: Final = ("Edge", "Gateway", "Engine", "Data", "MarketData", "Ledger")
"""An order comes in at the edge and ends in the ledger. What is not on its path follows, as it is deployed."""
WIDTH: Final = 24


class ObservabilityStack(ExchangeStack):
    """Deployed last: it shows what all others publish and changes none."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, alarms: Sequence[StackAlarms]
    ) -> None:
        """Create the dashboard over `alarms`. It names alarms by name, so no other stack has to tell it anything."""
        super().__init__(scope, construct_id, config=config, description="Dashboard over all alarms")
        here = [each for each in alarms if (each.stack.account, each.stack.region) == (self.account, self.region)]
        steps = sorted(here, key=lambda each: PATH.index(name) if (name := each.stack.node.id) in PATH else len(PATH))
        self._alarms_here = self.format_arn(
            service="cloudwatch", resource="alarm", resource_name="", arn_format=ArnFormat.COLON_RESOURCE_NAME
        )
        dashboard = cloudwatch.Dashboard(
            self, "OrderPath", dashboard_name=f"Bursa-{config.name}", default_interval=Duration.hours(8)
        )
        for step in steps:
            if step.names:
                dashboard.add_widgets(
                    cloudwatch.TextWidget(
                        markdown=f"## {step.stack.node.id}\n[graphs](#dashboards/dashboard/{step.dashboard_name})",
                        width=WIDTH // 6,
                        height=3,
                    ),
                    cloudwatch.AlarmStatusWidget(
                        title=step.stack.node.id,
                        alarms=[self._alarm(name) for name in step.names],
                        width=WIDTH - WIDTH // 6,
                        height=3,
                    ),
                )

    def _alarm(self, name: str) -> cloudwatch.IAlarm:
        return cloudwatch.Alarm.from_alarm_arn(self, f"At-{name}", f"{self._alarms_here}{name}")
