"""Copies of everything that holds data, in vaults that those who run the stores cannot empty."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from aws_cdk import Names, RemovalPolicy, Stack, Tags
from aws_cdk import aws_backup as backup
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct, IConstruct

from config.model import Environment
from config.perimeter import BackupConfig
from exchange_constructs.nag import accept
from exchange_constructs.service_role import ServiceRole

TAG: Final = "bursa:backup"
KINDS: Final = ("AWS::DynamoDB::GlobalTable", "AWS::EC2::Volume", "AWS::RDS::DBCluster", "AWS::S3::Bucket")
"""Stores that AWS Backup copies."""
LOCK_GRACE_DAYS: Final = 3
DAILY: Final = "cron(0 18 * * ? *)"
"""One o'clock at night in Jakarta."""
MONTHLY: Final = "cron(0 19 1 * ? *)"
RESTORE_TEST: Final = {7: "cron(0 20 ? * SUN *)", 30: "cron(0 20 2 * ? *)"}
"""Days between rehearsals → when they begin."""
REHEARSED: Final = {"Aurora": "aurora", "DynamoDB": "tables", "EBS": "volumes", "S3": "objects"}


def back_up_every_store(scope: IConstruct) -> None:
    """Mark every store below `scope` for backup, of the kinds that AWS Backup copies."""
    Tags.of(scope).add(TAG, "yes", include_resource_types=list(KINDS))


def need_no_backup(*stores: IConstruct) -> None:
    """Leave `stores` out: what they hold is made again, kept elsewhere or already beyond anyone's reach."""
    for store in stores:
        Tags.of(store).add(TAG, "no", include_resource_types=list(KINDS), priority=200)


def recovery_vault_name(config: Environment) -> str:
    """Return the name of the vault abroad, by which the plan at home knows it."""
    return f"bursa-{config.name}-recovery"


def vault_lock(
    times: BackupConfig, *, least_days: int, most_days: int
) -> backup.CfnBackupVault.LockConfigurationTypeProperty:
    """Return the lock of a vault that takes only copies that are kept so long, and gives none away before."""
    return backup.CfnBackupVault.LockConfigurationTypeProperty(
        min_retention_days=least_days,
        max_retention_days=most_days,
        # With a grace period the lock becomes final; without one it can be taken off again.
        changeable_for_days=LOCK_GRACE_DAYS if times.locked else None,
    )


class Backups(Construct):
    """Daily copies in a locked vault, monthly ones also in a vault that is not even in reach of this account's root."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create vaults, plan and rehearsal."""
        super().__init__(scope, construct_id)
        times = config.backup
        name = Names.unique_resource_name(self, max_length=40, separator="-")
        self.vault = backup.CfnBackupVault(
            self,
            "Vault",
            backup_vault_name=name,
            encryption_key_arn=key.key_arn,
            lock_configuration=vault_lock(times, least_days=times.daily_kept_days, most_days=times.monthly_kept_days),
        )
        self.vault.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
        # Under a key of the service: whoever gets hold of ours must not be able to make these copies unreadable.
        air_gapped = backup.CfnLogicallyAirGappedBackupVault(
            self,
            "AirGapped",
            backup_vault_name=f"{name}-air-gapped",
            min_retention_days=times.daily_kept_days,
            max_retention_days=times.monthly_kept_days,
        )
        air_gapped.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
        role = self._role()
        self._add_plan(config, air_gapped.attr_backup_vault_arn, role)
        self._add_rehearsal(config, role)

    def _add_plan(self, config: Environment, air_gapped_arn: str, role: iam.IRole) -> None:
        times, stack = config.backup, Stack.of(self)
        lifecycle = backup.CfnBackupPlan.LifecycleResourceTypeProperty
        copies = [air_gapped_arn]
        if times.copy_abroad:
            abroad = f"{config.web_region}:{stack.account}:backup-vault:{recovery_vault_name(config)}"
            copies.append(f"arn:{stack.partition}:backup:{abroad}")
        plan = backup.CfnBackupPlan(
            self,
            "Plan",
            backup_plan=backup.CfnBackupPlan.BackupPlanResourceTypeProperty(
                backup_plan_name=f"bursa-{config.name}",
                backup_plan_rule=[
                    backup.CfnBackupPlan.BackupRuleResourceTypeProperty(
                        rule_name="Daily",
                        target_backup_vault=self.vault.ref,
                        schedule_expression=DAILY,
                        start_window_minutes=60,
                        completion_window_minutes=360,
                        lifecycle=lifecycle(delete_after_days=times.daily_kept_days),
                    ),
                    backup.CfnBackupPlan.BackupRuleResourceTypeProperty(
                        rule_name="Monthly",
                        target_backup_vault=self.vault.ref,
                        schedule_expression=MONTHLY,
                        start_window_minutes=60,
                        completion_window_minutes=1440,
                        lifecycle=lifecycle(delete_after_days=times.monthly_kept_days),
                        copy_actions=[
                            backup.CfnBackupPlan.CopyActionResourceTypeProperty(
                                destination_backup_vault_arn=arn,
                                lifecycle=lifecycle(delete_after_days=times.monthly_kept_days),
                            )
                            for arn in copies
                        ],
                    ),
                ],
            ),
        )
        backup.CfnBackupSelection(
            self,
            "Stores",
            backup_plan_id=plan.attr_backup_plan_id,
            backup_selection=backup.CfnBackupSelection.BackupSelectionResourceTypeProperty(
                selection_name="marked",
                iam_role_arn=role.role_arn,
                list_of_tags=[
                    backup.CfnBackupSelection.ConditionResourceTypeProperty(
                        condition_type="STRINGEQUALS", condition_key=TAG, condition_value="yes"
                    )
                ],
            ),
        )

    def _add_rehearsal(self, config: Environment, role: iam.IRole) -> None:
        name = f"bursa_{config.name}"
        plan = backup.CfnRestoreTestingPlan(
            self,
            "Rehearsal",
            restore_testing_plan_name=name,
            schedule_expression=RESTORE_TEST[config.backup.restore_test_days],
            start_window_hours=4,
            recovery_point_selection=backup.CfnRestoreTestingPlan.RestoreTestingRecoveryPointSelectionProperty(
                algorithm="LATEST_WITHIN_WINDOW",
                include_vaults=[self.vault.attr_backup_vault_arn],
                recovery_point_types=["SNAPSHOT"],
                selection_window_days=max(7, config.backup.restore_test_days),
            ),
        )
        for kind, meaning in REHEARSED.items():
            selection = backup.CfnRestoreTestingSelection(
                self,
                f"Rehearse{kind}",
                restore_testing_plan_name=name,
                restore_testing_selection_name=f"{name}_{meaning}",
                protected_resource_type=kind,
                protected_resource_arns=["*"],
                iam_role_arn=role.role_arn,
                validation_window_hours=24,
            )
            selection.add_resource_dependency(plan)

    def _role(self) -> ServiceRole:
        """Return what AWS Backup acts as; AWS has ready-made policies for it, which allow more kinds of stores."""
        role = ServiceRole(
            self, "Role", service="backup.amazonaws.com", description="Copies and restores what is marked"
        )
        let_back_up(role, *ALLOWED)
        return role


class RecoveryCopies(Construct):
    """A vault abroad, for an owner who has assessed that copies may leave Indonesia."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the vault under a key of its own."""
        super().__init__(scope, construct_id)
        removal_policy = RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY
        key = kms.Key(
            self,
            "Keys",
            description=f"{config.name}: copies of backups",
            enable_key_rotation=True,
            removal_policy=removal_policy,
        )
        kept_days = config.backup.monthly_kept_days
        vault = backup.CfnBackupVault(
            self,
            "Vault",
            backup_vault_name=recovery_vault_name(config),
            encryption_key_arn=key.key_arn,
            lock_configuration=vault_lock(config.backup, least_days=kept_days, most_days=kept_days),
        )
        vault.apply_removal_policy(removal_policy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """Some actions, on what, and when."""

    actions: tuple[str, ...]
    on: tuple[str, ...] = ("*",)
    """Patterns of ARNs, in which {account} is ours."""
    when: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


REHEARSAL: Final = "awsbackup-restore-test-*"
"""How AWS Backup names what a rehearsal restores."""
_A_COPY: Final = {"Null": {"aws:ResourceTag/aws:backup:source-resource": "false"}}
_OF_A_REHEARSAL: Final = {"Null": {"aws:ResourceTag/awsbackup-restore-test": "false"}}
_KEYS: Final = ("arn:aws:kms:*:{account}:key/*",)
_STORES: Final = ("backup", "dynamodb", "ec2", "rds", "s3")
"""On whose behalf a copy uses keys."""
ALLOWED: Final[Mapping[str, tuple[Allowed, ...]]] = {
    "databases": (
        Allowed(
            actions=(
                "rds:AddTagsToResource",
                "rds:CopyDBClusterSnapshot",
                "rds:CreateDBClusterSnapshot",
                "rds:DescribeDBClusters",
                "rds:DescribeDBClusterSnapshots",
                "rds:ListTagsForResource",
                "rds:RestoreDBClusterFromSnapshot",
            )
        ),
        Allowed(actions=("rds:DeleteDBClusterSnapshot",), on=("arn:aws:rds:*:{account}:cluster-snapshot:awsbackup:*",)),
        Allowed(actions=("rds:DeleteDBCluster",), on=(f"arn:aws:rds:*:{{account}}:cluster:{REHEARSAL}",)),
    ),
    "tables": (
        Allowed(
            actions=(
                "dynamodb:CreateBackup",
                "dynamodb:DescribeBackup",
                "dynamodb:DescribeTable",
                "dynamodb:ListTagsOfResource",
                "dynamodb:RestoreTableFromAwsBackup",
                "dynamodb:StartAwsBackupJob",
                "dynamodb:TagResource",
            )
        ),
        Allowed(actions=("dynamodb:DeleteTable",), on=(f"arn:aws:dynamodb:*:{{account}}:table/{REHEARSAL}",)),
    ),
    "volumes": (
        Allowed(
            actions=(
                "ec2:CreateSnapshot",
                "ec2:CreateTags",
                "ec2:CreateVolume",
                "ec2:DescribeSnapshots",
                "ec2:DescribeTags",
                "ec2:DescribeVolumes",
            )
        ),
        Allowed(actions=("ec2:DeleteSnapshot",), on=("arn:aws:ec2:*::snapshot/*",), when=_A_COPY),
        Allowed(actions=("ec2:DeleteVolume",), on=("arn:aws:ec2:*:{account}:volume/*",), when=_OF_A_REHEARSAL),
    ),
    "objects": (
        Allowed(
            actions=(
                "cloudwatch:GetMetricData",
                "s3:CreateBucket",
                "s3:GetBucketAcl",
                "s3:GetBucketLocation",
                "s3:GetBucketNotification",
                "s3:GetBucketTagging",
                "s3:GetBucketVersioning",
                "s3:GetInventoryConfiguration",
                "s3:GetObject",
                "s3:GetObjectAcl",
                "s3:GetObjectTagging",
                "s3:GetObjectVersion",
                "s3:GetObjectVersionAcl",
                "s3:GetObjectVersionTagging",
                "s3:ListAllMyBuckets",
                "s3:ListBucket",
                "s3:ListBucketVersions",
                "s3:PutBucketNotification",
                "s3:PutBucketVersioning",
                "s3:PutInventoryConfiguration",
                "s3:PutObject",
                "s3:PutObjectTagging",
            )
        ),
        Allowed(actions=("s3:DeleteBucket", "s3:DeleteObject"), on=(f"arn:aws:s3:::{REHEARSAL}",)),
        Allowed(
            actions=(
                "events:DeleteRule",
                "events:DescribeRule",
                "events:DisableRule",
                "events:EnableRule",
                "events:ListTargetsByRule",
                "events:PutRule",
                "events:PutTargets",
                "events:RemoveTargets",
            ),
            on=("arn:aws:events:*:{account}:rule/AwsBackupManagedRule*",),
        ),
    ),
    "keys and vaults": (
        Allowed(
            actions=(
                "backup:CopyFromBackupVault",
                "backup:CopyIntoBackupVault",
                "backup:DescribeBackupVault",
                "backup:StartCopyJob",
                "backup:TagResource",
                "tag:GetResources",
            )
        ),
        Allowed(actions=("kms:DescribeKey",), on=_KEYS),
        Allowed(actions=("kms:CreateGrant",), on=_KEYS, when={"Bool": {"kms:GrantIsForAWSResource": "true"}}),
        Allowed(
            actions=("kms:Decrypt", "kms:GenerateDataKey"),
            on=_KEYS,
            when={"StringLike": {"kms:ViaService": [f"{store}.*.amazonaws.com" for store in _STORES]}},
        ),
    ),
}
"""What copying and restoring each kind takes, as in AWS's own policies for AWS Backup; it deletes only its own."""


def let_back_up(role: ServiceRole, *kinds: str) -> None:
    """Let `role` copy and restore stores of `kinds`, and clean up after a rehearsal."""
    account = Stack.of(role).account
    patterns = dict[str, None]()
    for allowed in [each for kind in kinds for each in ALLOWED[kind]]:
        resources = [pattern.format(account=account) for pattern in allowed.on]
        patterns |= dict.fromkeys(resources)
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=list(allowed.actions), resources=resources, conditions=dict(allowed.when))
        )
    accept(
        role.policy,
        *(f"AwsSolutions-IAM5[Resource::{pattern}]" for pattern in patterns),
        reason="It copies whatever carries the mark and restores under names that nobody knows before a restore",
        expires=date(2027, 11, 20),
        owner="security",
    )
