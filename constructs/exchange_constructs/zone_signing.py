"""DNSSEC: answers for our names are signed, so that nobody can lead clients elsewhere."""

from aws_cdk import aws_kms as kms
from aws_cdk import aws_route53 as route53
from constructs import Construct

from config.model import Environment


class ZoneSigning(Construct):
    """The key-signing key of the zone and its use. The parent zone's DS record is the registrar's, by hand."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Sign the zone with `key`."""
        super().__init__(scope, construct_id)
        signing_key = route53.CfnKeySigningKey(
            self,
            "Key",
            name="bursa",
            hosted_zone_id=config.hosted_zone_id,
            key_management_service_arn=key.key_arn,
            status="ACTIVE",
        )
        signing = route53.CfnDNSSEC(self, "Signing", hosted_zone_id=config.hosted_zone_id)
        signing.add_resource_dependency(signing_key)
