"""Shield Advanced, for a subscribed organization: help and cost protection against floods."""

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_shield as shield
from constructs import Construct


class FloodProtection(Construct):
    """Protects the distribution and the zone."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        distribution: cloudfront.IDistribution,
        zone: route53.IHostedZone,
    ) -> None:
        """Create one protection for each."""
        super().__init__(scope, construct_id)
        distribution_arn = Stack.of(self).format_arn(
            service="cloudfront",
            region="",
            resource="distribution",
            resource_name=distribution.distribution_id,
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
        for name, arn in (("FrontDoor", distribution_arn), ("Zone", zone.hosted_zone_arn)):
            shield.CfnProtection(self, name, name=f"{Stack.of(self).stack_name}-{name}", resource_arn=arn)
