"""What looks at one region of one account: for threats, for weaknesses, for doors that stand open, for changes."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_accessanalyzer as accessanalyzer
from aws_cdk import aws_config as awsconfig
from aws_cdk import aws_guardduty as guardduty
from aws_cdk import aws_securityhub as securityhub
from constructs import Construct

from config.model import Environment
from exchange_constructs.configuration_history import configuration_bucket_name
from exchange_constructs.encryption_keys import audit_alias_arn

FEATURES: Final = ("S3_DATA_EVENTS", "EBS_MALWARE_PROTECTION", "RDS_LOGIN_EVENTS", "LAMBDA_NETWORK_LOGS")
STANDARDS: Final = {
    "aws-foundational-security-best-practices": "standards/aws-foundational-security-best-practices/v/1.0.0",
    "cis-aws-foundations-benchmark": "standards/cis-aws-foundations-benchmark/v/3.0.0",
    "pci-dss": "standards/pci-dss/v/4.0.1",
}
RULES: Final = {
    "DetectorsOn": "GUARDDUTY_ENABLED_CENTRALIZED",
    "DisksEncrypted": "ENCRYPTED_VOLUMES",
    "DatabasesEncrypted": "RDS_STORAGE_ENCRYPTED",
    "KeysRotated": "CMK_BACKING_KEY_ROTATION_ENABLED",
    "KeysNotLeaving": "KMS_CMK_NOT_SCHEDULED_FOR_DELETION",
    "BucketsPrivate": "S3_BUCKET_LEVEL_PUBLIC_ACCESS_PROHIBITED",
    "BucketsByTls": "S3_BUCKET_SSL_REQUESTS_ONLY",
    "NoOpenSsh": "INCOMING_SSH_DISABLED",
    "FlowsRecorded": "VPC_FLOW_LOGS_ENABLED",
    "MetadataV2": "EC2_IMDSV2_CHECK",
}
"""Rule of the conformance pack → managed rule of AWS Config, about what lies in one region."""
ACCOUNT_RULES: Final = {
    "CloudTrailOn": "CLOUD_TRAIL_ENABLED",
    "CloudTrailSealed": "CLOUD_TRAIL_LOG_FILE_VALIDATION_ENABLED",
    "RootWithoutKeys": "IAM_ROOT_ACCESS_KEY_CHECK",
    "RootWithMfa": "ROOT_ACCOUNT_MFA_ENABLED",
}
"""The same, about the account as a whole: the home region asks, for all."""
FINDINGS: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "Threats": ("aws.guardduty", {"severity": [{"numeric": [">=", 4]}]}),
    "Weaknesses": ("aws.securityhub", {"findings": {"Severity": {"Label": ["CRITICAL", "HIGH"]}}}),
    "Vulnerabilities": ("aws.inspector2", {"severity": ["CRITICAL", "HIGH"]}),
    "OpenDoors": ("aws.access-analyzer", {"status": ["ACTIVE"]}),
}
"""What is found and serious enough to be looked at: its name → who says so on the default bus, and how it looks."""


class Detectors(Construct):
    """GuardDuty, Security Hub, Access Analyzer, and a recorder with its rules.

    Needs, once per account, what no template makes: the service-linked role of AWS Config.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create them in the account and region of the stack. What has no region is looked at in the home one."""
        super().__init__(scope, construct_id)
        self._at_home = Stack.of(self).region == config.region
        self._add_detectors(config)
        self._add_recorder(config)

    def _add_detectors(self, config: Environment) -> None:
        stack = Stack.of(self)
        guardduty.CfnDetector(
            self,
            "Detector",
            enable=True,
            finding_publishing_frequency="FIFTEEN_MINUTES",
            features=[
                guardduty.CfnDetector.CFNFeatureConfigurationProperty(name=name, status="ENABLED") for name in FEATURES
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

    def _add_recorder(self, config: Environment) -> None:
        stack = Stack.of(self)
        recorder = awsconfig.CfnConfigurationRecorder(
            self,
            "Recorder",
            role_arn=f"arn:{stack.partition}:iam::{stack.account}:role/aws-service-role/config.amazonaws.com/"
            "AWSServiceRoleForConfig",
            recording_group=awsconfig.CfnConfigurationRecorder.RecordingGroupProperty(
                all_supported=True, include_global_resource_types=self._at_home
            ),
        )
        channel = awsconfig.CfnDeliveryChannel(
            self,
            "Channel",
            s3_bucket_name=configuration_bucket_name(config),
            # Unless it is told, AWS Config asks S3 for a key of S3.
            s3_kms_key_arn=audit_alias_arn(config),
        )
        pack = awsconfig.CfnConformancePack(
            self,
            "Conformance",
            conformance_pack_name=f"bursa-{config.name}",
            template_body=_conformance_pack({**RULES, **ACCOUNT_RULES} if self._at_home else RULES),
        )
        pack.add_resource_dependency(recorder)
        pack.add_resource_dependency(channel)


def _conformance_pack(rules: Mapping[str, str]) -> str:
    """Return the pack as CloudFormation text: each rule, managed by AWS."""
    lines = ["Resources:"]
    for name, rule in rules.items():
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
