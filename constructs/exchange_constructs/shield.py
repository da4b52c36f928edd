"""Shield Advanced, for a subscribed organization: help and cost protection against floods."""

from collections.abc import Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_shield as shield
from constructs import Construct


class FloodProtection(Construct):
    """Protects the distribution, the zone, and the public balancer: by its fixed addresses, the only way there is."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        distribution: cloudfront.IDistribution,
        zone: route53.IHostedZone,
        addresses: Sequence[str],
        addresses_region: str,
    ) -> None:
        """Create one protection for each; `addresses` are allocations of this account in `addresses_region`."""
        super().__init__(scope, construct_id)
        distribution_arn = Stack.of(self).format_arn(
            service="cloudfront",
            region="",
            resource="distribution",
            resource_name=distribution.distribution_id,
            arn_format=ArnFormat.SLASH_RESOURCE_NAME,
        )
        address_arns = {
            f"Address{number}": Stack.of(self).format_arn(
                service="ec2",
                region=addresses_region,
                resource="eip-allocation",
                resource_name=address,
                arn_format=ArnFormat.SLASH_RESOURCE_NAME,
            )
            for number, address in enumerate(addresses, start=1)
        }
        for name, arn in {"FrontDoor": distribution_arn, "Zone": zone.hosted_zone_arn, **address_arns}.items():
            shield.CfnProtection(self, name, name=f"{Stack.of(self).stack_name}-{name}", resource_arn=arn)
