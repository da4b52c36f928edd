"""Which process of a market group leads: one small item a group, changed by conditional writes only."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment


class LeaseTable(Construct):
    """In the stack of the engine, its one user. A lost lease costs seconds: the journal has epochs of its own."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the table."""
        super().__init__(scope, construct_id)
        self._key = key
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="lease_of", type=dynamodb.AttributeType.STRING),
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(key),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )

    def grant_hold(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` read a lease, take it and renew it."""
        self.table.grant(grantee, "dynamodb:GetItem", "dynamodb:UpdateItem")
        self._key.grant(grantee, "kms:Decrypt")
