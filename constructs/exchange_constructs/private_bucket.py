"""Buckets: private, versioned, reached by TLS only, every access logged."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.alarm_kinds import ENTIRE_BUCKET
from exchange_constructs.nag import HIPAA, NIST, PCI, accept

OLD_VERSIONS_DAYS: Final = 90
MADE_AGAIN: Final = "No second copy: what lies here is short-lived, or made again from elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """How S3 copies a bucket's objects to another one: by what rule and as whom."""

    rule: s3.ReplicationRule
    role: iam.IRole


class AccessLogBucket(s3.Bucket):
    """Where S3 and the load balancers write who asked for what.

    Those writers accept a bucket under an S3-managed key only, so this one bucket is not under a key of ours.
    Records of its own access would feed on themselves: there are none. `LogCopies` carries all into the archive.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the bucket; records leave it when the logs' retention ends."""
        super().__init__(
            scope,
            construct_id,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            metrics=[s3.BucketMetrics(id=ENTIRE_BUCKET)],
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=Duration.days(config.log_retention_days),
                    noncurrent_version_expiration=Duration.days(1),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                )
            ],
        )
        accept(
            self,
            *(f"{pack}-S3DefaultEncryptionKMS" for pack in (HIPAA, NIST, PCI)),
            reason="S3 and load balancers write access records only to a bucket that is under an S3-managed key",
            expires=date(2027, 11, 20),
            owner="security",
        )


class PrivateBucket(s3.Bucket):
    """Objects under our own key. Old versions stay for OLD_VERSIONS_DAYS."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        access_logs: s3.IBucket | None,
        name: str | None = None,
        kept_days: int | None = None,
        lock: s3.ObjectLockRetention | None = None,
        lifecycle: Sequence[s3.LifecycleRule] = (),
        copied: Copied | None = None,
        why_single: str | None = MADE_AGAIN,
    ) -> None:
        """Create the bucket; its access records go to `access_logs`, or, in a region without one, to the trail only.

        Give a `name` only where AWS, or another account, must know it. Objects leave after `kept_days`; None keeps
        them. With a `lock` no version can be deleted or changed before its time, or before that of the lock that it
        came with. What cannot be made again is `copied` as it is written; of the rest, `why_single` says why one
        bucket is enough; None where `LogCopies` copies it.
        """
        super().__init__(
            scope,
            construct_id,
            bucket_name=name,
            object_lock_enabled=True if lock else None,
            object_lock_default_retention=lock,
            replication_rules=[copied.rule] if copied else None,
            replication_role=copied.role if copied else None,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=key,
            bucket_key_enabled=True,
            enforce_ssl=True,
            versioned=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
            server_access_logs_bucket=access_logs,
            server_access_logs_prefix=f"s3/{construct_id.lower()}/" if access_logs else None,
            metrics=[s3.BucketMetrics(id=ENTIRE_BUCKET)],
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=None if kept_days is None else Duration.days(kept_days),
                    noncurrent_version_expiration=Duration.days(OLD_VERSIONS_DAYS),
                    abort_incomplete_multipart_upload_after=Duration.days(1),
                ),
                *lifecycle,
            ],
        )
        if access_logs is None:
            accept(
                self,
                "AwsSolutions-S1",
                *(f"{pack}-S3BucketLoggingEnabled" for pack in (HIPAA, NIST, PCI)),
                reason="There is no log bucket in its account and region; the trail records every access to an object",
                expires=date(2027, 11, 20),
                owner="security",
            )
        if copied is None and why_single:
            _accept_no_copy(self, why_single)


def _accept_no_copy(bucket: s3.Bucket, reason: str) -> None:
    accept(
        bucket,
        *(f"{pack}-S3BucketReplicationEnabled" for pack in (HIPAA, NIST, PCI)),
        reason=reason,
        expires=date(2027, 11, 20),
        owner="security",
    )
