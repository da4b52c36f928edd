"""What watches one account: its trail, its detectors, its recorder; and where their findings go."""

from datetime import date
from typing import Final

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_accessanalyzer as accessanalyzer
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_config as awsconfig
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_guardduty as guardduty
from aws_cdk import aws_inspectorv2 as inspector
from aws_cdk import aws_kms as kms
from aws_cdk import aws_securityhub as securityhub
from constructs import Construct

from config.model import Environment
from exchange_constructs.audit_archive import audit_bucket_name
from exchange_constructs.encryption_keys import audit_alias
from exchange_constructs.nag import accept
from exchange_constructs.private_queue import PrivateQueue
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

DETECTOR_FEATURES: Final = ("S3_DATA_EVENTS", "EBS_MALWARE_PROTECTION", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS")
STANDARDS: Final = {
    "aws-foundational-security-best-practices": "standards/aws-foundational-security-best-practices/v/1.0.0",
    "cis-aws-foundations-benchmark": "standards/cis-aws-foundations-benchmark/v/3.0.0",
    "pci-dss": "standards/pci-dss/v/4.0.1",
}
RULES: Final = {
    "CloudTrailOn": "CLOUD_TRAIL_ENABLED",
    "CloudTrailSealed": "CLOUD_TRAIL_LOG_FILE_VALIDATION_ENABLED",
    "DetectorsOn": "GUARDDUTY_ENABLED_CENTRALIZED",
    "DisksEncrypted": "ENCRYPTED_VOLUMES",
    "DatabasesEncrypted": "RDS_STORAGE_ENCRYPTED",
    "KeysRotated": "CMK_BACKING_KEY_ROTATION_ENABLED",
    "KeysNotLeaving": "KMS_CMK_NOT_SCHEDULED_FOR_DELETION",
    "BucketsPrivate": "S3_BUCKET_LEVEL_PUBLIC_ACCESS_PROHIBITED",
    "BucketsByTls": "S3_BUCKET_SSL_REQUESTS_ONLY",
    "RootWithoutKeys": "IAM_ROOT_ACCESS_KEY_CHECK",
    "RootWithMfa": "ROOT_ACCOUNT_MFA_ENABLED",
    "NoOpenSsh": "INCOMING_SSH_DISABLED",
    "FlowsRecorded": "VPC_FLOW_LOGS_ENABLED",
    "MetadataV2": "EC2_IMDSV2_CHECK",
}
"""Rule of the conformance pack → managed rule of AWS Config."""


class SecurityBaseline(Construct):
    """The same in every account. An account that runs no detector of its own is one nobody looks at.

    Needs two things that no template makes, once per account: the service-linked role of AWS Config, and Inspector
    switched on (`aws inspector2 enable`), for which CloudFormation has no type.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create trail, detectors, recorder, analyzer, and the queue of what they find."""
        super().__init__(scope, construct_id)
        self._add_trail(config, key)
        self._add_detectors(config)
        self._add_recorder(config)
        self._add_findings(config, key)

    def _add_trail(self, config: Environment, key: kms.IKey) -> None:
        stack = Stack.of(self)
        logs = ServiceLogs(self, "TrailLogs", config=config, key=key)
        role = ServiceRole(self, "TrailRole", service="cloudtrail.amazonaws.com", description="Writes the trail's log")
        logs.grant_write(role)
        records = f"arn:{stack.partition}:s3:::{audit_bucket_name(config)}"
        field = cloudtrail.CfnTrail.AdvancedFieldSelectorProperty

        def selector(
            name: str, *fields: cloudtrail.CfnTrail.AdvancedFieldSelectorProperty
        ) -> cloudtrail.CfnTrail.AdvancedEventSelectorProperty:
            return cloudtrail.CfnTrail.AdvancedEventSelectorProperty(name=name, field_selectors=list(fields))

        data = field(field="eventCategory", equal_to=["Data"])
        trail = cloudtrail.CfnTrail(
            self,
            "Trail",
            s3_bucket_name=audit_bucket_name(config),
            kms_key_id=stack.format_arn(
                service="kms",
                account=config.accounts.audit,
                resource=audit_alias(config).partition("/")[0],
                resource_name=audit_alias(config).partition("/")[2],
                arn_format=ArnFormat.SLASH_RESOURCE_NAME,
            ),
            is_logging=True,
            is_multi_region_trail=True,
            include_global_service_events=True,
            enable_log_file_validation=True,
            cloud_watch_logs_log_group_arn=logs.log_group_arn,
            cloud_watch_logs_role_arn=role.role_arn,
            advanced_event_selectors=[
                selector("Management", field(field="eventCategory", equal_to=["Management"])),
                selector(
                    "Objects",
                    data,
                    field(field="resources.type", equal_to=["AWS::S3::Object"]),
                    # Its own records, or each would bring forth the next.
                    field(field="resources.ARN", not_starts_with=[f"{records}/"]),
                ),
                selector("Functions", data, field(field="resources.type", equal_to=["AWS::Lambda::Function"])),
            ],
        )
        trail.node.add_dependency(role.policy)

    def _add_detectors(self, config: Environment) -> None:
        stack = Stack.of(self)
        guardduty.CfnDetector(
            self,
            "Detector",
            enable=True,
            finding_publishing_frequency="FIFTEEN_MINUTES",
            features=[
                guardduty.CfnDetector.CFNFeatureConfigurationProperty(name=name, status="ENABLED")
                for name in DETECTOR_FEATURES
            ],
        )
        hub = securityhub.CfnHub(
            self,
            "Hub",
            enable_default_standards=False,
            auto_enable_controls=True,
            control_finding_generator="SECURITY_CONTROL",
        )
        for number, name in enumerate(config.audit.standards, start=1):
            arn = f"arn:{stack.partition}:securityhub:{stack.region}::{STANDARDS[name]}"
            standard = securityhub.CfnStandard(self, f"Standard{number}", standards_arn=arn)
            standard.add_resource_dependency(hub)
        accessanalyzer.CfnAnalyzer(self, "Analyzer", type="ACCOUNT")
        # Inspector looks at every image when it is pushed, and again whenever a weakness becomes known.
        ecr.CfnRegistryScanningConfiguration(
            self,
            "ImageScans",
            scan_type="ENHANCED",
            rules=[
                ecr.CfnRegistryScanningConfiguration.ScanningRuleProperty(
                    scan_frequency="CONTINUOUS_SCAN",
                    repository_filters=[
                        ecr.CfnRegistryScanningConfiguration.RepositoryFilterProperty(
                            filter="*", filter_type="WILDCARD"
                        )
                    ],
                )
            ],
        )
        inspector.CfnCisScanConfiguration(
            self,
            "CisScan",
            scan_name=f"bursa-{config.name}",
            security_level="LEVEL_1",
            schedule=inspector.CfnCisScanConfiguration.ScheduleProperty(
                weekly=inspector.CfnCisScanConfiguration.WeeklyScheduleProperty(
                    days=["SUN"],
                    start_time=inspector.CfnCisScanConfiguration.TimeProperty(
                        time_of_day="02:00", time_zone="Asia/Jakarta"
                    ),
                )
            ),
            targets=inspector.CfnCisScanConfiguration.CisTargetsProperty(
                account_ids=["SELF"], target_resource_tags={"bursa": [config.name]}
            ),
        )

    def _add_recorder(self, config: Environment) -> None:
        stack = Stack.of(self)
        recorder = awsconfig.CfnConfigurationRecorder(
            self,
            "Recorder",
            role_arn=f"arn:{stack.partition}:iam::{stack.account}:role/aws-service-role/config.amazonaws.com/"
            "AWSServiceRoleForConfig",
            recording_group=awsconfig.CfnConfigurationRecorder.RecordingGroupProperty(
                all_supported=True, include_global_resource_types=True
            ),
        )
        channel = awsconfig.CfnDeliveryChannel(self, "Channel", s3_bucket_name=audit_bucket_name(config))
        pack = awsconfig.CfnConformancePack(
            self,
            "Conformance",
            conformance_pack_name=f"bursa-{config.name}",
            template_body=_conformance_pack(),
        )
        pack.add_resource_dependency(recorder)
        pack.add_resource_dependency(channel)

    def _add_findings(self, config: Environment, key: kms.IKey) -> None:
        lost = PrivateQueue(self, "LostFindings", config=config, key=key, dead_letters=None)
        accept(
            lost,
            "Serverless-SQSRedrivePolicy",
            reason="The last queue of this account, behind its findings, which share no queue with another account",
            expires=date(2027, 11, 20),
            owner="security",
        )
        self.findings = PrivateQueue(self, "Findings", config=config, key=key, dead_letters=lost, attempts_max=5)
        serious: dict[str, object] = {"severity": ["CRITICAL", "HIGH"]}
        patterns: dict[str, tuple[str, dict[str, object]]] = {
            "Threats": ("aws.guardduty", {"severity": [{"numeric": [">=", 4]}]}),
            "Weaknesses": ("aws.securityhub", {"findings": {"Severity": {"Label": ["CRITICAL", "HIGH"]}}}),
            "Vulnerabilities": ("aws.inspector2", serious),
            "OpenDoors": ("aws.access-analyzer", {"status": ["ACTIVE"]}),
        }
        for name, (source, detail) in patterns.items():
            rule = events.Rule(
                self,
                name,
                description=f"{name} that were found, into the queue of findings",
                event_pattern=events.EventPattern(source=[source], detail=detail),
            )
            rule.add_target(
                targets.SqsQueue(
                    self.findings, dead_letter_queue=lost, retry_attempts=10, max_event_age=Duration.hours(6)
                )
            )


def _conformance_pack() -> str:
    """Return the pack as CloudFormation text: each rule, managed by AWS."""
    lines = ["Resources:"]
    for name, rule in RULES.items():
        lines += [
            f"  {name}:",
            "    Type: AWS::Config::ConfigRule",
            "    Properties:",
            f"      ConfigRuleName: bursa-{rule.lower().replace('_', '-')}",
            "      Source:",
            "        Owner: AWS",
            f"        SourceIdentifier: {rule}",
        ]
    return "\n".join(lines) + "\n"
