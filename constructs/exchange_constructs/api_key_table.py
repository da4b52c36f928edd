"""Customers' API keys: who a key speaks for, and the sealed secret that its requests are signed with."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from runtime.offboarding.api_keys import ACCOUNT_INDEX


class ApiKeyTable(Construct):
    """One item per API key. HMAC secrets in it are ciphertexts under a key of their own."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, data_key: kms.IKey, secrets_key: kms.IKey
    ) -> None:
        """Create the table; a lost table would lock every client out, so it is never deleted by mistake."""
        super().__init__(scope, construct_id)
        self._data_key = data_key
        self._secrets_key = secrets_key
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="api_key", type=dynamodb.AttributeType.STRING),
            global_secondary_indexes=[
                dynamodb.GlobalSecondaryIndexPropsV2(
                    index_name=ACCOUNT_INDEX,
                    partition_key=dynamodb.Attribute(name="account_id", type=dynamodb.AttributeType.NUMBER),
                    projection_type=dynamodb.ProjectionType.KEYS_ONLY,
                )
            ],
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(data_key),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )

    def grant_verify(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` look one key up and open its secret."""
        self._grant(grantee, self.table.table_arn, "dynamodb:GetItem")
        self._secrets_key.grant(grantee, "kms:Decrypt")

    def grant_revoke(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` find the keys of an account and change their items, without opening a secret."""
        self._grant(grantee, f"{self.table.table_arn}/index/{ACCOUNT_INDEX}", "dynamodb:Query")
        self._grant(grantee, self.table.table_arn, "dynamodb:UpdateItem")

    def _grant(self, grantee: iam.IGrantable, arn: str, *actions: str) -> None:
        """Grant without the star over all indexes that the table's own method would add."""
        iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[arn])
        self._data_key.grant(grantee, "kms:Decrypt")
