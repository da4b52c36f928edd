"""Daily snapshots of the nodes' disks, from which a new node starts within the hour instead of after days."""

from collections.abc import Sequence

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_backup as backup
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.backups import DAILY, let_back_up, vault_lock
from exchange_constructs.service_role import ServiceRole


class NodeSnapshots(Construct):
    """A vault of the nodes' account. What a lost disk held is on the chain as well; a copy saves days of sync."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, disks: Sequence[ec2.Volume], key: kms.IKey
    ) -> None:
        """Create vault, plan and role for `disks`."""
        super().__init__(scope, construct_id)
        kept_days = config.nodes.snapshots_kept_days
        vault = backup.CfnBackupVault(
            self,
            "Vault",
            backup_vault_name=f"bursa-{config.name}-nodes",
            encryption_key_arn=key.key_arn,
            lock_configuration=vault_lock(config.backup, least_days=kept_days, most_days=kept_days),
        )
        vault.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
        plan = backup.CfnBackupPlan(
            self,
            "Plan",
            backup_plan=backup.CfnBackupPlan.BackupPlanResourceTypeProperty(
                backup_plan_name=f"bursa-{config.name}-nodes",
                backup_plan_rule=[
                    backup.CfnBackupPlan.BackupRuleResourceTypeProperty(
                        rule_name="Daily",
                        target_backup_vault=vault.ref,
                        schedule_expression=DAILY,
                        start_window_minutes=60,
                        completion_window_minutes=720,
                        lifecycle=backup.CfnBackupPlan.LifecycleResourceTypeProperty(delete_after_days=kept_days),
                    )
                ],
            ),
        )
        stack = Stack.of(self)
        backup.CfnBackupSelection(
            self,
            "Disks",
            backup_plan_id=plan.attr_backup_plan_id,
            backup_selection=backup.CfnBackupSelection.BackupSelectionResourceTypeProperty(
                selection_name="disks",
                iam_role_arn=self._role().role_arn,
                resources=[
                    stack.format_arn(service="ec2", resource="volume", resource_name=disk.volume_id) for disk in disks
                ],
            ),
        )

    def _role(self) -> ServiceRole:
        role = ServiceRole(self, "Role", service="backup.amazonaws.com", description="Copies the disks of nodes")
        let_back_up(role, "volumes", "keys and vaults")
        return role
