"""Logs that a service writes only into a bucket of its own kind, copied into the locked archive as they are written.

Flow and DNS records go there by themselves. Balancers and S3 write only under an S3-managed key, CloudFront and the web
firewall only where they were told by name, AWS Config only where nothing is locked: so S3 carries those over. A
deletion is not carried over, the lock of the archive begins with the copy, and the names of objects stay: in
single-account dev several buckets share the archive.
"""

from datetime import date
from typing import Final, Literal, cast

from aws_cdk import CfnElement, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.audit_archive import audit_bucket_name
from exchange_constructs.encryption_keys import audit_alias, log_copier_name
from exchange_constructs.nag import accept
from exchange_constructs.service_role import ServiceRole

READ_BUCKET: Final = ("s3:GetReplicationConfiguration", "s3:ListBucket")
READ_OBJECTS: Final = ("s3:GetObjectVersionAcl", "s3:GetObjectVersionForReplication", "s3:GetObjectVersionTagging")


class LogCopies(Construct):
    """Has S3 copy every object of one bucket into the archive, as a role that can do nothing else."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        part: Literal["core", "edge", "nodes", "configuration"],
        bucket: s3.Bucket,
        key: kms.IKey | None = None,
    ) -> None:
        """Copy `bucket`, which lies under `key` or one of S3; the archive knows the role by the name of `part`."""
        super().__init__(scope, construct_id)
        stack = Stack.of(self)
        archive = f"arn:{stack.partition}:s3:::{audit_bucket_name(config)}"
        role = ServiceRole(
            self,
            "Role",
            service="s3.amazonaws.com",
            description="Copies logs into the archive as they are written",
            name=log_copier_name(config, part),
        )
        keys = f"arn:{stack.partition}:kms:{config.region}:{config.accounts.audit}:key/*"
        for actions, resource, condition in (
            (READ_BUCKET, bucket.bucket_arn, {}),
            (READ_OBJECTS, bucket.arn_for_objects("*"), {}),
            (("s3:ReplicateObject", "s3:ReplicateTags"), f"{archive}/*", {}),
            # The archive's key has its id from another account; its name is ours.
            (
                ("kms:Encrypt", "kms:GenerateDataKey"),
                keys,
                {"ForAnyValue:StringEquals": {"kms:ResourceAliases": audit_alias(config)}},
            ),
        ):
            role.add_to_principal_policy(
                iam.PolicyStatement(actions=list(actions), resources=[resource], conditions=condition)
            )
        if key:
            key.grant(role, "kms:Decrypt")
        made = cast(s3.CfnBucket, bucket.node.default_child)
        own_id = stack.resolve(stack.get_logical_id(cast(CfnElement, made)))
        accept(
            role.policy,
            f"AwsSolutions-IAM5[Resource::<{own_id}.Arn>/*]",
            f"AwsSolutions-IAM5[Resource::{archive}/*]",
            f"AwsSolutions-IAM5[Resource::{keys}]",
            reason="Names of logs hold the time of writing; a condition holds the key to the archive's, by its name",
            expires=date(2027, 11, 25),
            owner="security",
        )
        there = s3.CfnBucket
        made.replication_configuration = there.ReplicationConfigurationProperty(
            role=role.role_arn,
            rules=[
                there.ReplicationRuleProperty(
                    status="Enabled",
                    priority=1,
                    filter=there.ReplicationRuleFilterProperty(prefix=""),
                    delete_marker_replication=there.DeleteMarkerReplicationProperty(status="Disabled"),
                    source_selection_criteria=there.SourceSelectionCriteriaProperty(
                        sse_kms_encrypted_objects=there.SseKmsEncryptedObjectsProperty(status="Enabled")
                    ),
                    destination=there.ReplicationDestinationProperty(
                        bucket=archive,
                        account=str(config.accounts.audit),
                        encryption_configuration=there.EncryptionConfigurationProperty(
                            replica_kms_key_id=(
                                f"arn:{stack.partition}:kms:{config.region}:{config.accounts.audit}:"
                                f"{audit_alias(config)}"
                            )
                        ),
                    ),
                )
            ],
        )
