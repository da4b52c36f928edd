"""A DynamoDB table of one kind of item, found by one key or by two."""

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment

BY_ACCOUNT: Final = "by-account"


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
        sort_key: str | None = None,
        listed_by: tuple[str, str] | None = None,
    ) -> None:
        """Create the table; an item is found by its `item_key`, and by its `sort_key`, a text, where there is one.

        With `listed_by`, two attributes that are numbers, the items of one value of the first can be listed in the
        order of the second, by the index BY_ACCOUNT; those without both are not in it.
        """
        indexes = (
            [
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=BY_ACCOUNT,
                    partition_key=dynamodb.Attribute(name=listed_by[0], type=dynamodb.AttributeType.NUMBER),
                    sort_key=dynamodb.Attribute(name=listed_by[1], type=dynamodb.AttributeType.NUMBER),
                )
            ]
            if listed_by
            else None
        )
        super().__init__(
            scope,
            construct_id,
            partition_key=dynamodb.Attribute(name=item_key, type=item_key_type),
            sort_key=dynamodb.Attribute(name=sort_key, type=dynamodb.AttributeType.STRING) if sort_key else None,
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(key),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            global_secondary_indexes=indexes,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        self._key = key

    def grant_calls(self, grantee: iam.IGrantable, *actions: str) -> None:
        """Let `grantee` make these calls, such as GetItem, on the table."""
        # Not by the table's own `grant`, which adds every index by a star.
        self._grant(grantee, self.table_arn, *actions)

    def grant_list(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` list items by the index."""
        self._grant(grantee, f"{self.table_arn}/index/{BY_ACCOUNT}", "Query")

    def _grant(self, grantee: iam.IGrantable, arn: str, *actions: str) -> None:
        iam.Grant.add_to_principal(
            grantee=grantee, actions=[f"dynamodb:{action}" for action in actions], resource_arns=[arn]
        )
        self._key.grant(grantee, "kms:Decrypt")
