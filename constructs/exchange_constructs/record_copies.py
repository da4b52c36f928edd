"""A second copy of every record that cannot be made again, under another key, the moment it is written."""

from datetime import date
from typing import Final, cast

from aws_cdk import CfnElement, Stack, Stage
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.nag import accept
from exchange_constructs.private_bucket import Copied, PrivateBucket
from exchange_constructs.record_bucket import DAYS_A_YEAR, ERASES, lock_for
from exchange_constructs.service_role import ServiceRole

READ: Final = (
    "s3:GetObjectLegalHold",
    "s3:GetObjectRetention",
    "s3:GetObjectVersionAcl",
    "s3:GetObjectVersionForReplication",
    "s3:GetObjectVersionTagging",
    "s3:GetReplicationConfiguration",
    "s3:ListBucket",
)
"""What S3 asks of a role before it copies an object with its lock."""


class RecordCopies(Construct):
    """One bucket, in Jakarta as all customer data, that S3 itself fills: nobody else may write to it.

    A deletion in a store is not carried over, and a lost key of a store does not touch its copies. Stores share the
    bucket: the names of their objects begin with what they hold.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, keys: EncryptionKeys, access_logs: s3.IBucket
    ) -> None:
        """Create the bucket, and the role by which S3 reads the stores of this environment and no other."""
        super().__init__(scope, construct_id)
        records, self._key = config.records, keys.copies
        years = (
            records.ledger_years,
            records.reports_years,
            records.evidence_years,
            records.trades_years,
            config.offboarding.files_years,
            config.offboarding.transfer_out_years,
        )
        self.bucket = PrivateBucket(
            self,
            "Bucket",
            config=config,
            key=keys.copies,
            access_logs=access_logs,
            kept_days=max(years) * DAYS_A_YEAR,
            # A copy comes with the lock of its record, which counts; this one is for what comes without.
            lock=lock_for(config, min(years)),
            lifecycle=[ERASES],
            why_single="It is the second copy itself, of every record that cannot be made again",
        )
        self._role = ServiceRole(
            self, "Role", service="s3.amazonaws.com", description="Copies records as they are written"
        )
        stack = Stack.of(self)
        # Stores are made later, in other stacks: CloudFormation begins their names with that of their stack.
        stores = f"arn:{stack.partition}:s3:::{_stage_name(self).lower()}-*"
        self._role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=list(READ),
                resources=[stores],
                conditions={"StringEquals": {"aws:ResourceAccount": stack.account}},
            )
        )
        self._role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["s3:ReplicateObject", "s3:ReplicateTags"], resources=[self.bucket.arn_for_objects("*")]
            )
        )
        for key in (keys.data, keys.records):
            key.grant(self._role, "kms:Decrypt")
        keys.copies.grant(self._role, "kms:Encrypt", "kms:GenerateDataKey")
        own_id = stack.resolve(stack.get_logical_id(cast(CfnElement, self.bucket.node.default_child)))
        accept(
            self._role.policy,
            f"AwsSolutions-IAM5[Resource::{stores}]",
            f"AwsSolutions-IAM5[Resource::<{own_id}.Arn>/*]",
            reason="Stores are made after this role; names of records follow from what they hold; only S3 takes it",
            expires=date(2027, 11, 20),
            owner="security",
        )

    def of(self, prefix: str = "") -> Copied:
        """Return what a store needs to be copied here: all of it, or what lies under `prefix`."""
        return Copied(
            rule=s3.ReplicationRule(
                destination=self.bucket,
                kms_key=self._key,
                sse_kms_encrypted_objects=True,
                filter=s3.Filter(prefix=prefix),
                priority=1,
                delete_marker_replication=False,
            ),
            role=self._role,
        )


def _stage_name(scope: Construct) -> str:
    stage = Stage.of(scope)
    return stage.stage_name if stage else Stack.of(scope).stack_name
