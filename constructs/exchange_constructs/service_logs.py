"""A log group as every part of the exchange has it: kept for a set time, under our own key."""

from types import MappingProxyType
from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from config.model import Environment

_RETENTION: Final = MappingProxyType(
    {
        30: logs.RetentionDays.ONE_MONTH,
        90: logs.RetentionDays.THREE_MONTHS,
        180: logs.RetentionDays.SIX_MONTHS,
        365: logs.RetentionDays.ONE_YEAR,
        731: logs.RetentionDays.TWO_YEARS,
        1827: logs.RetentionDays.FIVE_YEARS,
        3653: logs.RetentionDays.TEN_YEARS,
    }
)


class ServiceLogs(logs.LogGroup):
    """An encrypted log group with the environment's retention."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, name: str | None = None
    ) -> None:
        """Create the group. Give a `name` only where AWS prescribes it."""
        super().__init__(
            scope,
            construct_id,
            log_group_name=name,
            encryption_key=key,
            retention=_RETENTION[config.log_retention_days],
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
