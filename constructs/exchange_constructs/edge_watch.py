"""What tells operators about the edge: whether names answer from outside, and what the month costs."""

from typing import Final

from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment

ACTUAL_PERCENT: Final = 80
FORECAST_PERCENT: Final = 100


class EdgeWatch(Construct):
    """Lies in us-east-1, as metrics of health checks, and budgets, exist nowhere else."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, tickets: sns.ITopic) -> None:
        """Ask for site, REST and streams from around the world; warn before the month's budget is spent."""
        super().__init__(scope, construct_id)
        self._check("Site", config.domain, path="/")
        self._check("Rest", f"api.{config.domain}", path="/api/v3/ping")
        self._check("Stream", f"stream.{config.domain}", path=None)
        self._add_budget(config, tickets)

    def _check(self, name: str, host: str, *, path: str | None) -> None:
        """Ask `host` every half minute: by HTTPS for `path`, or, where it is None, whether port 443 opens."""
        route53.CfnHealthCheck(
            self,
            f"{name}Check",
            health_check_config=route53.CfnHealthCheck.HealthCheckConfigProperty(
                type="TCP" if path is None else "HTTPS",
                fully_qualified_domain_name=host,
                port=443,
                resource_path=path,
                enable_sni=None if path is None else True,
                request_interval=30,
                failure_threshold=3,
                measure_latency=True,
            ),
        )

    def _add_budget(self, config: Environment, tickets: sns.ITopic) -> None:
        tickets.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                resources=[tickets.topic_arn],
                principals=[iam.ServicePrincipal("budgets.amazonaws.com")],
                conditions={"StringEquals": {"aws:SourceAccount": config.account}},
            )
        )

        def warning(kind: str, percent: int) -> budgets.CfnBudget.NotificationWithSubscribersProperty:
            return budgets.CfnBudget.NotificationWithSubscribersProperty(
                notification=budgets.CfnBudget.NotificationProperty(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[budgets.CfnBudget.SubscriberProperty(subscription_type="SNS", address=tickets.topic_arn)],
            )

        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=config.edge.monthly_budget_usd, unit="USD"),
            ),
            notifications_with_subscribers=[
                warning("ACTUAL", ACTUAL_PERCENT),
                warning("FORECASTED", FORECAST_PERCENT),
            ],
        )
