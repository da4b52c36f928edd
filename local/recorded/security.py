"""Services that watch over an account, and those that keep copies of what is in it."""

from collections.abc import Mapping
from typing import Final

from local.recorded.forms import Recorded, of_service

WATCHES: Final = "it watches an account in AWS; there is none to watch here"
COPIES: Final = "it copies stores of AWS; `.local/` is yours to copy"
COST: Final = "nothing costs money here"

TYPES: Final[Mapping[str, Recorded]] = {
    "AWS::CloudTrail::Trail": Recorded(
        reason=WATCHES,
        ref="{name}",
        name_property="TrailName",
        attributes={"Arn": "arn:aws:cloudtrail:{region}:{account}:trail/{ref}"},
    ),
    **of_service("CloudTrail", WATCHES, "Channel", "EventDataStore"),
    "AWS::GuardDuty::Detector": Recorded(reason=WATCHES, ref="{hex32}", attributes={"Id": "{ref}"}),
    **of_service("GuardDuty", WATCHES, "Filter", "MalwareProtectionPlan", "PublishingDestination"),
    **of_service(
        "SecurityHub",
        WATCHES,
        "AggregatorV2",
        "AutomationRule",
        "FindingAggregator",
        "Hub",
        "HubV2",
        "Insight",
        "SecurityControl",
        "Standard",
    ),
    **of_service(
        "Config",
        WATCHES,
        "AggregationAuthorization",
        "ConfigRule",
        "ConfigurationAggregator",
        "ConfigurationRecorder",
        "ConformancePack",
        "DeliveryChannel",
        "RemediationConfiguration",
    ),
    **of_service("InspectorV2", WATCHES, "CisScanConfiguration", "CodeSecurityScanConfiguration", "Filter"),
    **of_service("AccessAnalyzer", WATCHES, "Analyzer"),
    **of_service("Detective", WATCHES, "Graph"),
    **of_service("Macie", WATCHES, "Session"),
    **of_service("EC2", WATCHES, "SnapshotBlockPublicAccess"),
    **of_service("Organizations", WATCHES, "Account", "Organization", "OrganizationalUnit", "Policy"),
    **of_service("IAM", "AWS makes these roles for its own services", "ServiceLinkedRole"),
    **of_service("IAM", "nobody logs in here", "Group", "OIDCProvider"),
    "AWS::Backup::BackupVault": Recorded(
        reason=COPIES,
        ref="{name}",
        name_property="BackupVaultName",
        name_limit=50,
        attributes={"BackupVaultArn": "arn:aws:backup:{region}:{account}:backup-vault:{ref}"},
    ),
    "AWS::Backup::LogicallyAirGappedBackupVault": Recorded(
        reason=COPIES,
        ref="{name}",
        name_property="BackupVaultName",
        name_limit=50,
        attributes={"BackupVaultArn": "arn:aws:backup:{region}:{account}:backup-vault:{ref}"},
    ),
    **of_service(
        "Backup",
        COPIES,
        "BackupPlan",
        "BackupSelection",
        "Framework",
        "ReportPlan",
        "RestoreTestingPlan",
        "RestoreTestingSelection",
    ),
    **of_service("DLM", COPIES, "LifecyclePolicy"),
    **of_service("Budgets", COST, "Budget", "BudgetsAction"),
    **of_service("CE", COST, "AnomalyMonitor", "AnomalySubscription"),
    **of_service("SecretsManager", "secrets are made anew by each installation", "RotationSchedule"),
    **of_service(
        "Cognito",
        "moto has none, and local accounts sign with keys",
        "LogDeliveryConfiguration",
        "ManagedLoginBranding",
    ),
    **of_service(
        "Cognito",
        "moto weighs no risk and shows no page",
        "UserPoolRiskConfigurationAttachment",
        "UserPoolUICustomizationAttachment",
    ),
}
