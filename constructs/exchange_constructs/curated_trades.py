"""Trades of each day, each once: a bucket of records, a table over it, and the nightly job that fills both.

A partition of the table is a day. It points to the one folder of the bucket that counts, whose name follows from what
it was made of. Inside, each market has a file of its own, so that a whole day appears, or is replaced, in one call.
What a run has written nobody can change: the bucket is locked, like every bucket of records.

The job is of Glue's kind for Spark, in the smallest size, and uses its driver alone. A Python shell would cost some
dollars a month less, but its Python is 3.9, which gets no corrections any more, and Glue names its log groups.
It runs in a network of Glue's own, as Firehose and Athena do in theirs: what it reaches is what its role may reach.
"""

from datetime import date
from typing import Final, cast

from aws_cdk import CfnElement, Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.log_metric import LAKE_SET_ASIDE, LogMetrics
from exchange_constructs.nag import accept
from exchange_constructs.operator_topics import OperatorTopics
from exchange_constructs.parquet_table import ParquetTable
from exchange_constructs.record_bucket import RecordBucket
from exchange_constructs.record_copies import RecordCopies
from exchange_constructs.runtime_code import GlueCode
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.trade_lake import FIRST_DAY, TradeLake
from runtime.curation.day import COLUMNS
from runtime.curation.lake import CURATED

TABLE: Final = "trades_by_day"
GLUE: Final = "5.0"
"""Spark 3.5 and Python 3.11, with pyarrow."""
WORKER: Final = "G.1X"
WORKERS: Final = 2
"""The fewest that a job can have."""
TIMEOUT: Final = Duration.hours(2)
NIGHTLY: Final = "cron(0 3 * * ? *)"
"""Three hours after the day's end: what arrives later joins its day a night later."""
ATTEMPTS_MORE: Final = 1
ENDED_BADLY: Final = ("ERROR", "FAILED", "STOPPED", "TIMEOUT")
_CATALOGUE: Final = ("CreatePartition", "GetPartition", "GetPartitions", "GetTable", "UpdatePartition")
_WHERE: Final = "The name of a day's folder and files follows from what the day was made of"


class CuratedTrades(Construct):
    """Bucket, table and job; readers get what `grant_look` and `grant_read_days` give."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        logs_key: kms.IKey,
        messages_key: kms.IKey,
        access_logs: s3.IBucket,
        copies: RecordCopies,
        topics: OperatorTopics,
        lake: TradeLake,
    ) -> None:
        """Create them, and tell the operators' tickets of every night that failed."""
        super().__init__(scope, construct_id)
        self._config, self._key, self._lake = config, key, lake
        self.days = RecordBucket(
            self,
            "Days",
            config=config,
            key=key,
            access_logs=access_logs,
            years=config.records.trades_years,
            copied=copies.of("curated/"),
        )
        self._table = self._create_table()
        role = ServiceRole(
            self, "JobRole", service="glue.amazonaws.com", description="Makes of raw records each day's trades once"
        )
        told = ServiceLogs(self, "Told", config=config, key=logs_key)
        self._let_work(role, told)
        LogMetrics(self, "Nights", log_group=told, metrics=(LAKE_SET_ASIDE,))
        self.job = self._create_job(role, told, logs_key)
        self._tell_failures(
            topics, DeadLetters(self, "Undelivered", config=config, key=messages_key, last=topics.undelivered)
        )

    @property
    def table_name(self) -> str:
        """Name of the table, in the database of the lake."""
        return self._table.ref

    @property
    def location(self) -> str:
        """ARN of where the table's objects lie."""
        return self.days.arn_for_objects(CURATED.rstrip("/"))

    def grant_look(self, grantee: ServiceRole) -> None:
        """Let `grantee` see how days are laid out."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["glue:GetPartition", "glue:GetPartitions", "glue:GetTable"],
            resource_arns=self._lake.catalogue_arns(TABLE),
        )

    def grant_read_days(self, grantee: ServiceRole) -> None:
        """Let `grantee` find and read the objects of days."""
        self.days.grant_read_back(grantee, prefix=CURATED)

    def accept_days(self, policy: iam.IManagedPolicy) -> None:
        """Accept in `policy` the names of objects of days."""
        stack = Stack.of(self)
        own_id = stack.resolve(stack.get_logical_id(cast(CfnElement, self.days.node.default_child)))
        accept(
            policy,
            f"AwsSolutions-IAM5[Resource::<{own_id}.Arn>/{CURATED}*]",
            reason=_WHERE,
            expires=date(2027, 11, 25),
        )

    def _create_table(self) -> ParquetTable:
        # The job adds a partition for each day: no pattern of names would tell which run of a day counts.
        return ParquetTable(
            self,
            "Table",
            database=self._lake.database_name,
            name=TABLE,
            description="Trades by the day (UTC) on which they happened, each once",
            location=f"s3://{self.days.bucket_name}/{CURATED}",
            columns=COLUMNS,
            by_day="day",
        )

    def _let_work(self, role: ServiceRole, told: ServiceLogs) -> None:
        """Let the job read raw trades, add days and point to them; it can take nothing back."""
        self._lake.grant_read_raw(role)
        self.days.grant_add(role, prefix="curated/")
        manifests = self.days.arn_for_objects(f"{CURATED}*")
        iam.Grant.add_to_principal(grantee=role, actions=["s3:GetObject"], resource_arns=[manifests])
        iam.Grant.add_to_principal(
            grantee=role,
            actions=[f"glue:{action}" for action in _CATALOGUE],
            resource_arns=self._lake.catalogue_arns(TABLE),
        )
        told.grant_write(role)
        self.accept_days(role.policy)

    def _create_job(self, role: ServiceRole, told: ServiceLogs, logs_key: kms.IKey) -> glue.CfnJob:
        code = GlueCode(self, "Code", service="curation", entry="job.py")
        code.grant_fetch(role)
        name = f"bursa-{self._config.name}-curation"
        security = glue.CfnSecurityConfiguration(
            self,
            "Security",
            name=name,
            encryption_configuration=glue.CfnSecurityConfiguration.EncryptionConfigurationProperty(
                s3_encryptions=[
                    glue.CfnSecurityConfiguration.S3EncryptionProperty(
                        s3_encryption_mode="SSE-KMS", kms_key_arn=self._key.key_arn
                    )
                ],
                cloud_watch_encryption=glue.CfnSecurityConfiguration.CloudWatchEncryptionProperty(
                    cloud_watch_encryption_mode="SSE-KMS", kms_key_arn=logs_key.key_arn
                ),
                job_bookmarks_encryption=glue.CfnSecurityConfiguration.JobBookmarksEncryptionProperty(
                    job_bookmarks_encryption_mode="CSE-KMS", kms_key_arn=self._key.key_arn
                ),
            ),
        )
        prefix = f"/aws-glue/{name}"
        for stream in ("error", "output"):
            # Glue names these two after the prefix; they hold Spark's own lines, ours are in `told`.
            group = ServiceLogs(self, stream.title(), config=self._config, key=logs_key, name=f"{prefix}/{stream}")
            group.grant_write(role)
            group.grant(role, "logs:AssociateKmsKey")
        job = glue.CfnJob(
            self,
            "Job",
            name=name,
            description="Each night: trades of the day before, each once",
            role=role.role_arn,
            command=glue.CfnJob.JobCommandProperty(
                name="glueetl", python_version="3", script_location=code.script.s3_object_url
            ),
            glue_version=GLUE,
            worker_type=WORKER,
            number_of_workers=WORKERS,
            timeout=TIMEOUT.to_minutes(),
            max_retries=ATTEMPTS_MORE,
            # Two at once would each point to a day that the other does not know.
            execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=1),
            security_configuration=security.ref,
            default_arguments={
                "--extra-py-files": code.packages.s3_object_url,
                "--job-bookmark-option": "job-bookmark-disable",
                "--custom-logGroup-prefix": prefix,
                "--raw": self._lake.raw.bucket_name,
                "--curated": self.days.bucket_name,
                "--database": self._lake.database_name,
                "--table": self._table.ref,
                "--log_group": told.log_group_name,
                "--first_day": FIRST_DAY,
            },
        )
        job.node.add_dependency(role.policy)
        job.add_resource_dependency(security)
        glue.CfnTrigger(
            self,
            "Nightly",
            name=name,
            description="Three hours after the day's end",
            type="SCHEDULED",
            schedule=NIGHTLY,
            start_on_creation=True,
            actions=[glue.CfnTrigger.ActionProperty(job_name=job.ref)],
        ).add_resource_dependency(job)
        return job

    def _tell_failures(self, topics: OperatorTopics, undelivered: DeadLetters) -> None:
        page = f"{self._config.operations.runbooks_url}/lake.md"
        # The library's own target would open the topic's key to every rule.
        rule = events.CfnRule(
            self,
            "Failed",
            description="The nightly job of the lake ended badly",
            event_pattern={
                "source": ["aws.glue"],
                "detail-type": ["Glue Job State Change"],
                "detail": {"jobName": [self.job.ref], "state": list(ENDED_BADLY)},
            },
            targets=[
                events.CfnRule.TargetProperty(
                    id="Operators",
                    arn=topics.tickets.topic_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=undelivered.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_retry_attempts=10, maximum_event_age_in_seconds=3600
                    ),
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={"state": "$.detail.state", "run": "$.detail.jobRunId", "at": "$.time"},
                        input_template=f'"The nightly job of the lake: <state> at <at>, run <run>. Runbook: {page}"',
                    ),
                )
            ],
        )
        undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[undelivered.queue_arn],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
            )
        )
