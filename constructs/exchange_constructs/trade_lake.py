"""The lake: every record of the trade stream as Parquet in S3, a table over it, and a place to ask.

One row of the table is one record of the stream, which holds a batch of trades. Records may come twice, so nobody asks
the table itself: the query `trades` makes a view of it with each trade once. A day's folder says when records arrived
(UTC); when a trade happened stands in the trade.

Who may query is decided by IAM on the catalogue and the buckets. With `analytics.grants` on, Lake Formation decides for
analysts, table by table, in its hybrid mode: alone, its permissions would replace IAM's for the whole account, which is
not ours to decide. See `analyst.py`.
"""

from datetime import date
from typing import Final, cast

from aws_cdk import CfnElement, Duration, Fn, RemovalPolicy, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept
from exchange_constructs.parquet_table import ParquetTable
from exchange_constructs.private_bucket import PrivateBucket
from exchange_constructs.record_bucket import RecordBucket
from exchange_constructs.record_copies import RecordCopies
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.trade_stream import TradeStream
from runtime.shared.glue_columns import columns
from runtime.shared.trade_records import TradeBatch, TradeRecord

TABLE: Final = "trade_batches"
FIRST_DAY: Final = "2026-11-01"
ANSWERS_DAYS: Final = 30
ANSWERS: Final = "answers/"
TRAINING: Final = f"{ANSWERS}training/"
"""Where the query `training` lays out trades; like every answer they go after ANSWERS_DAYS."""
MODELS: Final = "models/"
GIB: Final = 1024**3
ENGINE: Final = "Athena engine version 3"
VIEW_NAME: Final = "trades"
VIEW: Final = f"""\
CREATE OR REPLACE VIEW {VIEW_NAME} AS
SELECT DISTINCT {", ".join(f"trade.{name}" for name in columns(TradeRecord))}
FROM {TABLE} CROSS JOIN UNNEST(trades) AS unnested (trade)
"""  # noqa: S608 - names of our own struct

TRAINING_DAYS: Final = 30


def unload(where: str) -> str:
    """Return the query that lays out the trades of TRAINING_DAYS at `where`, which must be empty."""
    names = ", ".join(columns(TradeRecord))
    since = f"to_unixtime(current_timestamp - INTERVAL '{TRAINING_DAYS}' DAY) * 1000000"
    chosen = f"SELECT {names} FROM trades WHERE time_us >= {since}"  # noqa: S608 - names of our own struct
    return f"UNLOAD ({chosen}) TO '{where}' WITH (format = 'JSON')"


class TradeLake(Construct):
    """Raw trades, locked like every record; a bucket of answers; the workgroup that turns the one into the other."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        logs_key: kms.IKey,
        access_logs: s3.IBucket,
        copies: RecordCopies,
        trades: TradeStream,
    ) -> None:
        """Create bucket, catalogue, delivery and workgroup."""
        super().__init__(scope, construct_id)
        self._key = key
        self.raw = RecordBucket(
            self,
            "Raw",
            config=config,
            key=key,
            access_logs=access_logs,
            years=config.records.trades_years,
            copied=copies.of("trades/"),
        )
        # Apart from the trades: whatever is written there stays locked for years.
        self.answers = PrivateBucket(
            self,
            "Answers",
            config=config,
            key=key,
            access_logs=access_logs,
            lifecycle=[s3.LifecycleRule(prefix=ANSWERS, expiration=Duration.days(ANSWERS_DAYS))],
        )
        self._database = glue.CfnDatabase(
            self,
            "Database",
            catalog_id=Stack.of(self).account,
            database_input=glue.CfnDatabase.DatabaseInputProperty(description=f"{config.name}: trades"),
        )
        self._table = self._create_table()
        self._deliver(config, trades, logs_key)
        self.workgroup = self._create_workgroup(config)

    @property
    def database_name(self) -> str:
        """Name of the catalogue's database."""
        return self._database.ref

    @property
    def table_name(self) -> str:
        """Name of the table of raw records."""
        return self._table.ref

    @property
    def location(self) -> str:
        """ARN of where the table's objects lie."""
        return self.raw.arn_for_objects("trades")

    def grant_train(self, grantee: ServiceRole) -> None:
        """Let `grantee` read what the query `training` laid out, and write and read models."""
        iam.Grant.add_to_principal(grantee=grantee, actions=["s3:ListBucket"], resource_arns=[self.answers.bucket_arn])
        objects = {TRAINING: ("s3:GetObject",), MODELS: ("s3:GetObject", "s3:PutObject")}
        for prefix, actions in objects.items():
            arns = [self.answers.arn_for_objects(f"{prefix}*")]
            iam.Grant.add_to_principal(grantee=grantee, actions=list(actions), resource_arns=arns)
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
        _accept_objects(
            self.answers, grantee.policy, *objects, why="Athena names files of trades, and SageMaker those of a model"
        )

    def grant_read_raw(self, grantee: ServiceRole) -> None:
        """Let `grantee` find and read the objects that hold records of the stream."""
        raw = self.raw
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["s3:GetBucketLocation", "s3:ListBucket"], resource_arns=[raw.bucket_arn]
        )
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["s3:GetObject"], resource_arns=[raw.arn_for_objects("trades/*")]
        )
        self._key.grant(grantee, "kms:Decrypt")
        self.accept_trades(grantee.policy)

    def catalogue_arns(self, *tables: str) -> list[str]:
        """Return the ARNs that a call of the catalogue about `tables` names: Glue asks for all three kinds."""
        stack, database = Stack.of(self), self._database.ref
        paths = [["catalog"], ["database", database], *(["table", database, table] for table in tables)]
        return [stack.format_arn(service="glue", resource=Fn.join("/", path)) for path in paths]

    def grant_look(self, grantee: ServiceRole) -> None:
        """Let `grantee` see how trades are laid out."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["glue:GetDatabase", "glue:GetPartitions", "glue:GetTable", "glue:GetTables"],
            resource_arns=self.catalogue_arns(TABLE, VIEW_NAME),
        )

    def grant_read(self, grantee: ServiceRole) -> None:
        """Let `grantee` read trades, and how they are laid out."""
        self.grant_read_raw(grantee)
        self.grant_look(grantee)

    def grant_ask(self, grantee: ServiceRole) -> None:
        """Let `grantee` ask the lake in its workgroup, which bounds what a question reads."""
        self.grant_read(grantee)
        self.grant_question(grantee)

    def grant_question(self, grantee: ServiceRole) -> None:
        """Let `grantee` put questions to the workgroup and read the answers; what they may be about, others grant."""
        stack, answers = Stack.of(self), self.answers.arn_for_objects(f"{ANSWERS}*")
        actions = ("GetQueryExecution", "GetQueryResults", "GetWorkGroup", "StartQueryExecution", "StopQueryExecution")
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=[f"athena:{action}" for action in actions],
            resource_arns=[
                stack.format_arn(service="athena", resource="workgroup", resource_name=str(self.workgroup.name))
            ],
        )
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["s3:GetBucketLocation", "s3:ListBucket"],
            resource_arns=[self.answers.bucket_arn],
        )
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            resource_arns=[answers],
        )
        self._key.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")
        _accept_objects(self.answers, grantee.policy, ANSWERS, why="Athena names an answer by its question")

    def accept_trades(self, policy: iam.IManagedPolicy) -> None:
        """Accept in `policy` the names of objects that hold records of the stream."""
        _accept_objects(self.raw, policy, "trades/", why="Firehose names each object by the time it is written")

    def _create_table(self) -> ParquetTable:
        return ParquetTable(
            self,
            "Table",
            database=self._database.ref,
            name=TABLE,
            description="Records of the trade stream; ask the view `trades` instead",
            location=f"s3://{self.raw.bucket_name}/trades/",
            columns=columns(TradeBatch),
            by_day="arrived",
            # Days are computed, not crawled: a new day can be asked for at once.
            parameters={
                "projection.enabled": "true",
                "projection.arrived.type": "date",
                "projection.arrived.format": "yyyy-MM-dd",
                "projection.arrived.range": f"{FIRST_DAY},NOW",
                "storage.location.template": f"s3://{self.raw.bucket_name}/trades/arrived=${{arrived}}",
            },
        )

    def _deliver(self, config: Environment, trades: TradeStream, logs_key: kms.IKey) -> None:
        role = ServiceRole(
            self, "DeliveryRole", service="firehose.amazonaws.com", description="Carries trades into the lake"
        )
        trades.grant_follow(role)
        self._grant_write(role)
        failures = ServiceLogs(self, "Failures", config=config, key=logs_key)
        stream = logs.LogStream(self, "FailuresOfS3", log_group=failures, removal_policy=RemovalPolicy.DESTROY)
        failures.grant_write(role)
        schema = firehose.CfnDeliveryStream.SchemaConfigurationProperty(
            role_arn=role.role_arn,
            catalog_id=Stack.of(self).account,
            database_name=self._database.ref,
            table_name=self._table.ref,
            region=Stack.of(self).region,
            version_id="LATEST",
        )
        delivery = firehose.CfnDeliveryStream(
            self,
            "Delivery",
            delivery_stream_type="KinesisStreamAsSource",
            kinesis_stream_source_configuration=firehose.CfnDeliveryStream.KinesisStreamSourceConfigurationProperty(
                kinesis_stream_arn=trades.stream.stream_arn, role_arn=role.role_arn
            ),
            extended_s3_destination_configuration=firehose.CfnDeliveryStream.ExtendedS3DestinationConfigurationProperty(
                bucket_arn=self.raw.bucket_arn,
                role_arn=role.role_arn,
                prefix="trades/arrived=!{timestamp:yyyy-MM-dd}/",
                error_output_prefix="errors/!{firehose:error-output-type}/arrived=!{timestamp:yyyy-MM-dd}/",
                buffering_hints=firehose.CfnDeliveryStream.BufferingHintsProperty(
                    interval_in_seconds=300, size_in_m_bs=64
                ),
                compression_format="UNCOMPRESSED",  # Parquet compresses by itself
                encryption_configuration=firehose.CfnDeliveryStream.EncryptionConfigurationProperty(
                    kms_encryption_config=firehose.CfnDeliveryStream.KMSEncryptionConfigProperty(
                        awskms_key_arn=self._key.key_arn
                    )
                ),
                cloud_watch_logging_options=firehose.CfnDeliveryStream.CloudWatchLoggingOptionsProperty(
                    enabled=True, log_group_name=failures.log_group_name, log_stream_name=stream.log_stream_name
                ),
                data_format_conversion_configuration=firehose.CfnDeliveryStream.DataFormatConversionConfigurationProperty(
                    enabled=True,
                    input_format_configuration=firehose.CfnDeliveryStream.InputFormatConfigurationProperty(
                        deserializer=firehose.CfnDeliveryStream.DeserializerProperty(
                            open_x_json_ser_de=firehose.CfnDeliveryStream.OpenXJsonSerDeProperty()
                        )
                    ),
                    output_format_configuration=firehose.CfnDeliveryStream.OutputFormatConfigurationProperty(
                        serializer=firehose.CfnDeliveryStream.SerializerProperty(
                            parquet_ser_de=firehose.CfnDeliveryStream.ParquetSerDeProperty(compression="SNAPPY")
                        )
                    ),
                    schema_configuration=schema,
                ),
            ),
        )
        delivery.node.add_dependency(role.policy)
        accept(
            delivery,
            "AwsSolutions-KDF1",
            reason="A delivery from a stream has no encryption of its own to set; the stream itself is under our key",
            expires=date(2027, 11, 20),
        )

    def _grant_write(self, role: ServiceRole) -> None:
        objects = self.raw.arn_for_objects("*")
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            resource_arns=[self.raw.bucket_arn],
        )
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"],
            resource_arns=[objects],
        )
        iam.Grant.add_to_principal(
            grantee=role,
            actions=["glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"],
            resource_arns=self.catalogue_arns(TABLE),
        )
        self._key.grant(role, "kms:Decrypt", "kms:GenerateDataKey")
        accept(
            role.policy,
            f"AwsSolutions-IAM5[Resource::<{_logical_id(self.raw)}.Arn>/*]",
            reason="Firehose names each object by the time it is written; the bucket holds nothing but the lake",
            expires=date(2027, 11, 20),
        )

    def _create_workgroup(self, config: Environment) -> athena.CfnWorkGroup:
        workgroup = athena.CfnWorkGroup(
            self,
            "Workgroup",
            name=f"bursa-{config.name}",
            description="Questions to the lake: bounded, encrypted, recorded",
            recursive_delete_option=not config.retained,
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=config.records.query_gib_max * GIB,
                engine_version=athena.CfnWorkGroup.EngineVersionProperty(
                    selected_engine_version="Athena engine version 3"
                ),
                result_configuration=athena.CfnWorkGroup.ResultConfigurationProperty(
                    output_location=f"s3://{self.answers.bucket_name}/{ANSWERS}",
                    expected_bucket_owner=Stack.of(self).account,
                    encryption_configuration=athena.CfnWorkGroup.EncryptionConfigurationProperty(
                        encryption_option="SSE_KMS", kms_key=self._key.key_arn
                    ),
                ),
            ),
        )
        view = athena.CfnNamedQuery(
            self,
            "View",
            database=self._database.ref,
            name=VIEW_NAME,
            description="Run once: the view of trades, each once however often its record came",
            query_string=VIEW,
            work_group=workgroup.ref,
        )
        view.node.add_dependency(self._table)
        training = athena.CfnNamedQuery(
            self,
            "Training",
            database=self._database.ref,
            name="training",
            description="Before the model is trained: lays out the trades of the last days, a JSON document each",
            query_string=unload(f"s3://{self.answers.bucket_name}/{TRAINING}"),
            work_group=workgroup.ref,
        )
        training.node.add_dependency(self._table)
        return workgroup


def _accept_objects(bucket: s3.Bucket, policy: iam.IManagedPolicy, *prefixes: str, why: str) -> None:
    accept(
        policy,
        *(f"AwsSolutions-IAM5[Resource::<{_logical_id(bucket)}.Arn>/{prefix}*]" for prefix in prefixes),
        reason=f"{why}; no name is known before it is there",
        expires=date(2027, 11, 20),
    )


def _logical_id(bucket: s3.Bucket) -> str:
    stack = Stack.of(bucket)
    return str(stack.resolve(stack.get_logical_id(cast(CfnElement, bucket.node.default_child))))
