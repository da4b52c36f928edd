"""The only way to the signer: requests and answers as items of one table, so that nothing ever connects to its host."""

from typing import Final

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment

ASKING: Final = ("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem")
"""What putting a request, numbering its transaction and reading the answer take."""
WAITING: Final = "Waiting"
"""Index of the requests that no host has answered yet, oldest first."""


def table_name(config: Environment) -> str:
    """Return the name by which the account of withdrawals knows the table, before either is deployed."""
    return f"bursa-{config.name}-signing"


def asker_name(config: Environment) -> str:
    """Return the name of the one role that puts requests into the table."""
    return f"bursa-{config.name}-withdrawals"


class SigningTable(Construct):
    """Requests with their answers, sealed wallets, signed manifests; all of it useless to whoever reads it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the table. A lost one would lose the sealed wallets, so it is never deleted by mistake."""
        super().__init__(scope, construct_id)
        self._key = key
        asker = self._asker(config)
        self.table = dynamodb.TableV2(
            self,
            "Table",
            table_name=table_name(config),
            resource_policy=iam.PolicyDocument(statements=[self._may_ask(config, asker)]),
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

    def _asker(self, config: Environment) -> dict[str, str]:
        """Return the condition that the caller is the role of withdrawals, which may not exist yet; open the key."""
        core, region = config.account, config.region
        role = f"arn:{Stack.of(self).partition}:iam::{core}:role/{asker_name(config)}"
        self._key.add_to_resource_policy(
            iam.PolicyStatement(
                sid="WithdrawalsReadTheTable",
                actions=["kms:Decrypt"],
                resources=["*"],
                principals=[iam.AccountPrincipal(core)],
                conditions={
                    "ArnEquals": {"aws:PrincipalArn": role},
                    "StringEquals": {
                        "kms:CallerAccount": core,
                        "kms:ViaService": f"dynamodb.{region}.amazonaws.com",
                    },
                },
            )
        )
        return {"aws:PrincipalArn": role}

    @staticmethod
    def _may_ask(config: Environment, asker: dict[str, str]) -> iam.PolicyStatement:
        return iam.PolicyStatement(
            sid="WithdrawalsAsk",
            actions=list(ASKING),
            resources=["*"],
            principals=[iam.AccountPrincipal(config.account)],
            conditions={"ArnEquals": asker},
        )

    def _grant(self, grantee: iam.IGrantable, arn: str, *actions: str) -> None:
        """Grant without the star over all indexes that the table's own method would add."""
        iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=[arn])


def grant_ask(grantee: iam.IGrantable, *, config: Environment, partition: str) -> str:
    """Let `grantee`, the role called `asker_name`, use the table of the wallet account; return the table's ARN."""
    wallet, region = config.accounts.wallet, config.region
    table = f"arn:{partition}:dynamodb:{region}:{wallet}:table/{table_name(config)}"
    iam.Grant.add_to_principal(grantee=grantee, actions=list(ASKING), resource_arns=[table])
    iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["kms:Decrypt"],
        # The key of the other account is known by what is under it.
        resource_arns=[f"arn:{partition}:kms:{region}:{wallet}:key/*"],
        conditions={
            "StringEquals": {
                "kms:ViaService": f"dynamodb.{region}.amazonaws.com",
                "kms:EncryptionContext:aws:dynamodb:tableName": table_name(config),
            }
        },
    )
    return table
