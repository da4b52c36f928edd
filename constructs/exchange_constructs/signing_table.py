"""The only way to the signer: requests and answers as items of one table, so that nothing ever connects to its host."""

from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment

WAITING: Final = "Waiting"
"""Index of the requests that no host has answered yet, oldest first."""


class SigningTable(Construct):
    """Requests with their answers, sealed wallets, signed manifests; all of it useless to whoever reads it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the table. A lost one would lose the sealed wallets, so it is never deleted by mistake."""
        super().__init__(scope, construct_id)
        self._key = key
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=WAITING,
                    partition_key=dynamodb.Attribute(name="waiting", type=dynamodb.AttributeType.STRING),
                    sort_key=dynamodb.Attribute(name="asked_at", type=dynamodb.AttributeType.NUMBER),
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                )
            ],
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(key),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )

    def grant_answer(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` find requests, read wallets and manifests, and write answers."""
        self._grant(grantee, self.table.table_arn, "dynamodb:GetItem", "dynamodb:UpdateItem")
        self._grant(grantee, f"{self.table.table_arn}/index/{WAITING}", "dynamodb:Query")
        self._key.grant(grantee, "kms:Decrypt")

    def grant_ask(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` put a request, with the number of its transaction, and read the answer."""
        self._grant(grantee, self.table.table_arn, "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
        self._key.grant(grantee, "kms:Decrypt")

    def _grant(self, grantee: iam.IGrantable, arn: str, *actions: str) -> None:
        """Grant without the star over all indexes that the table's own method would add."""
        iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[arn])
