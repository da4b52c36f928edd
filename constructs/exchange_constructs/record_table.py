"""A DynamoDB table of one kind of item, found by one key."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment


class RecordTable(dynamodb.TableV2):
    """Under our own key, restorable to any second, and never deleted by mistake."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        item_key: str,
        item_key_type: dynamodb.AttributeType = dynamodb.AttributeType.STRING,
    ) -> None:
        """Create the table; an item is found by its `item_key`."""
        super().__init__(
            scope,
            construct_id,
            partition_key=dynamodb.Attribute(name=item_key, type=item_key_type),
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(key),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        self._key = key

    def grant_calls(self, grantee: iam.IGrantable, *actions: str) -> None:
        """Let `grantee` make these calls, such as GetItem, on the table."""
        self.grant(grantee, *(f"dynamodb:{action}" for action in actions))
        self._key.grant(grantee, "kms:Decrypt")
