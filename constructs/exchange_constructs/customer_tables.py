"""What is known of customers besides their balances: applications, and withdrawals that have to wait."""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment


class CustomerTable(Construct):
    """One table under our key, recoverable to any second of the last five weeks, hard to delete."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, partition: dynamodb.Attribute
    ) -> None:
        """Create the table with `partition` as its key."""
        super().__init__(scope, construct_id)
        self._key = key
        self.table = dynamodb.TableV2(
            self,
            "Table",
            partition_key=partition,
            encryption=dynamodb.TableEncryptionV2.customer_managed_key(key),
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )

    @property
    def name(self) -> str:
        """Name of the table."""
        return self.table.table_name

    def grant(self, grantee: iam.IGrantable, *actions: str) -> None:
        """Let `grantee` do `actions`, such as dynamodb:GetItem."""
        self.table.grant(grantee, *actions)
        self._key.grant(grantee, "kms:Decrypt")


class ApplicationTable(CustomerTable):
    """Applications: personal data, by application."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the table."""
        partition = dynamodb.Attribute(name="application_id", type=dynamodb.AttributeType.STRING)
        super().__init__(scope, construct_id, config=config, key=key, partition=partition)


class WithdrawalLockTable(CustomerTable):
    """Until when the withdrawals of an account wait."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the table."""
        partition = dynamodb.Attribute(name="account_id", type=dynamodb.AttributeType.NUMBER)
        super().__init__(scope, construct_id, config=config, key=key, partition=partition)

    def grant_read(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` see whether an account's withdrawals wait."""
        self.grant(grantee, "dynamodb:GetItem")
