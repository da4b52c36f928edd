"""What the edge keeps in Jakarta: a copy of the trading screen, and the logs of clients' requests."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.log_copies import LogCopies
from exchange_constructs.private_bucket import PrivateBucket


class SiteCopy(Construct):
    """The same bundle as Amplify serves, for when Amplify, or its region, does not answer."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, access_logs: s3.IBucket
    ) -> None:
        """Create the bucket, which distributions of this account alone may read."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.bucket = PrivateBucket(
            self,
            "Bucket",
            config=config,
            key=key,
            access_logs=access_logs,
            why_single="A copy itself, of the trading screen: a publication makes it again from the repository",
        )
        self.bucket.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["s3:GetObject"],
                resources=[self.bucket.arn_for_objects("*")],
                principals=[iam.ServicePrincipal("cloudfront.amazonaws.com")],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": f"arn:{stack.partition}:cloudfront::{stack.account}:distribution/*"},
                },
            )
        )


class EdgeLogs(Construct):
    """Requests that CloudFront answered and those the web firewalls judged, at the edge and before REST.

    They hold addresses, so they stay in Jakarta.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, access_logs: s3.IBucket
    ) -> None:
        """Create the bucket; the web firewall takes one only under a name that begins like this."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        self.bucket = PrivateBucket(
            self,
            "Bucket",
            config=config,
            key=key,
            access_logs=access_logs,
            name=f"aws-waf-logs-{config.name}-edge-{stack.account}",
            kept_days=config.log_retention_days,
            why_single=None,
        )
        LogCopies(self, "Copies", config=config, part="edge", bucket=self.bucket, key=key)
        writer = iam.ServicePrincipal("delivery.logs.amazonaws.com")
        ours = {"aws:SourceAccount": stack.account}
        from_us = {
            "StringEquals": ours,
            "ArnLike": {
                "aws:SourceArn": [
                    f"arn:{stack.partition}:logs:{region}:{stack.account}:*"
                    for region in (config.edge_region, config.region)
                ]
            },
        }
        self.bucket.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["s3:PutObject"],
                resources=[self.bucket.arn_for_objects("*")],
                principals=[writer],
                conditions={
                    **from_us,
                    "StringEquals": {**ours, "s3:x-amz-acl": "bucket-owner-full-control"},
                },
            )
        )
        self.bucket.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["s3:GetBucketAcl", "s3:ListBucket"],
                resources=[self.bucket.bucket_arn],
                principals=[writer],
                conditions=from_us,
            )
        )
