"""What watches one account: its trail, its detectors; and where their findings go."""

from datetime import date

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudtrail as cloudtrail
from aws_cdk import aws_config as awsconfig
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_inspectorv2 as inspector
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from exchange_constructs.audit_archive import audit_bucket_name
from exchange_constructs.break_glass_watch import BreakGlassWatch
from exchange_constructs.detectors import FINDINGS, Detectors
from exchange_constructs.encryption_keys import audit_alias_arn
from exchange_constructs.nag import accept
from exchange_constructs.private_queue import PrivateQueue
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole


class SecurityBaseline(Detectors):
    """The same in every account. An account that runs no detector of its own is one nobody looks at.

    Lies in the home region, where hosts, images and functions are. Besides what other detectors need, Inspector is to
    be switched on once (`aws inspector2 enable`): CloudFormation has no type for that.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, operators: sns.ITopic
    ) -> None:
        """Create trail, detectors, the queue of what they find, and the watch that tells `operators` of break-glass."""
        super().__init__(scope, construct_id, config=config)
        self._add_trail(config, key)
        self._add_scans(config)
        self._add_view(config)
        lost = self._add_findings(config, key)
        BreakGlassWatch(self, "BreakGlass", operators=operators, undelivered=lost)

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
            kms_key_id=audit_alias_arn(config),
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

    def _add_scans(self, config: Environment) -> None:
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

    def _add_view(self, config: Environment) -> None:
        """Show rules and resources of all regions in this one."""
        awsconfig.CfnConfigurationAggregator(
            self,
            "Regions",
            configuration_aggregator_name=f"bursa-{config.name}",
            account_aggregation_sources=[
                awsconfig.CfnConfigurationAggregator.AccountAggregationSourceProperty(
                    account_ids=[Stack.of(self).account],
                    aws_regions=[config.region, config.web_region, config.edge_region],
                )
            ],
        )

    def _add_findings(self, config: Environment, key: kms.IKey) -> PrivateQueue:
        """Queue what is found here, and in regions that forward it; return the queue of what is lost."""
        lost = PrivateQueue(self, "LostFindings", config=config, key=key, dead_letters=None)
        accept(
            lost,
            "Serverless-SQSRedrivePolicy",
            reason="The last queue of this account, behind what it finds and tells: no other account shares it",
            expires=date(2027, 11, 20),
            owner="security",
        )
        self.findings = PrivateQueue(self, "Findings", config=config, key=key, dead_letters=lost, attempts_max=5)
        for name, (source, detail) in FINDINGS.items():
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
        return lost
