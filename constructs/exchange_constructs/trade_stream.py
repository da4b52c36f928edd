"""The published record of trades: a Kinesis stream that surveillance and the lake read.

Each trade names both accounts, by number: surveillance is blind without them. So the stream is not public data. It is
under the key of records, which neither gateways nor the engine may use; the public tape goes another way.
"""

from datetime import date

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept


class TradeStream(Construct):
    """A stream on demand, under the key of records; a reader that was away may catch up for the retention time."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the stream."""
        super().__init__(scope, construct_id)
        self._key = key
        self.stream = kinesis.Stream(
            self,
            "Stream",
            stream_mode=kinesis.StreamMode.ON_DEMAND,
            retention_period=Duration.hours(config.trade_stream_retention_hours),
            encryption=kinesis.StreamEncryption.KMS,
            encryption_key=key,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        accept(
            self.stream,
            "AwsSolutions-KDS3",
            reason="A warning about cost only: a key of our own is wanted, so that we decide who can read trades",
            expires=date(2027, 11, 20),
        )

    def grant_follow(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` read every record."""
        self.stream.grant(
            grantee,
            "kinesis:DescribeStream",
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
        )
        self._key.grant(grantee, "kms:Decrypt")

    def grant_publish(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` append records."""
        self.stream.grant(grantee, "kinesis:PutRecord", "kinesis:PutRecords")
        self._key.grant(grantee, "kms:GenerateDataKey")
