"""Records of who did what, in every account, where nobody who acts can reach them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_athena as athena
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import log_copiers
from exchange_constructs.private_bucket import PrivateBucket

COLUMNS: Final = {
    "eventtime": "string",
    "eventsource": "string",
    "eventname": "string",
    "awsregion": "string",
    "sourceipaddress": "string",
    "useragent": "string",
    "errorcode": "string",
    "useridentity": "struct<type:string,principalid:string,arn:string,accountid:string,username:string>",
    "requestparameters": "string",
    "responseelements": "string",
    "readonly": "string",
}
"""What a record of CloudTrail is asked for."""
QUESTIONS: Final = {
    "WhoDidWhat": (
        "Every change that one person or role made on one day; fill in the name",
        (
            "SELECT eventtime, eventsource, eventname, awsregion, errorcode, requestparameters FROM trail "
            "WHERE day = '2026/01/31' AND readonly = 'false' AND useridentity.arn LIKE '%NAME%' ORDER BY eventtime"
        ),
    ),
    "UsesOfKeys": (
        "Who decrypted, disabled or scheduled the deletion of a key",
        (
            "SELECT eventtime, useridentity.arn, eventname, requestparameters, errorcode FROM trail "
            "WHERE day = '2026/01/31' AND eventsource = 'kms.amazonaws.com' AND eventname IN "
            "('Decrypt', 'DisableKey', 'PutKeyPolicy', 'ScheduleKeyDeletion') ORDER BY eventtime"
        ),
    ),
    "RootAndRefused": (
        "What the root user did, and what was refused to anybody",
        (
            "SELECT eventtime, useridentity.arn, eventsource, eventname, errorcode, sourceipaddress FROM trail "
            "WHERE day = '2026/01/31' AND (useridentity.type = 'Root' OR errorcode LIKE '%Denied%') ORDER BY eventtime"
        ),
    ),
    "SecuritySwitches": (
        "Who touched the trail, the detectors, the recorder or the lock of records",
        (
            "SELECT eventtime, useridentity.arn, eventsource, eventname, errorcode FROM trail "
            "WHERE day = '2026/01/31' AND readonly = 'false' AND eventsource IN ('cloudtrail.amazonaws.com', "
            "'guardduty.amazonaws.com', 'config.amazonaws.com', 'securityhub.amazonaws.com') ORDER BY eventtime"
        ),
    ),
    "NamesRefused": (
        "Which names the DNS firewall refused to whom; fill in the network",
        (
            "SELECT query_timestamp, srcaddr, query_name, rcode FROM dns WHERE day = '2026/01/31' "
            "AND account = 'ACCOUNT' AND network = 'VPC' AND firewall_rule_action = 'BLOCK' ORDER BY query_timestamp"
        ),
    ),
    "RequestsRefused": (
        "What the web firewall refused; fill in its name, and as its place a region or cloudfront",
        (
            "SELECT from_unixtime(timestamp / 1000) AS at, terminatingruleid, httprequest.clientip, "
            "httprequest.country, httprequest.httpmethod, httprequest.uri FROM web_firewall "
            "WHERE day = '2026/01/31' AND account = 'ACCOUNT' AND place = 'PLACE' AND acl = 'NAME' "
            "AND action = 'BLOCK' ORDER BY timestamp"
        ),
    ),
}
"""Name → what it answers, and the query. Each names its day, which bounds what it reads and costs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A kind of log in the archive, a JSON document a line, in folders by account, by `parts`, and by day."""

    table: str
    folder: str
    """After the account; `${part}` stands for each of `parts`."""
    parts: Mapping[str, tuple[str, ...]]
    """Name → its values; with none, a question must name one."""
    columns: Mapping[str, str]


LOGS: Final = (
    Log(
        table="dns",
        folder="vpcdnsquerylogs/${network}",
        parts={"network": ()},
        columns={
            "query_timestamp": "string",
            "vpc_id": "string",
            "srcaddr": "string",
            "query_name": "string",
            "query_type": "string",
            "rcode": "string",
            "firewall_rule_action": "string",
            "firewall_domain_list_id": "string",
        },
    ),
    Log(
        table="web_firewall",
        folder="WAFLogs/${place}/${acl}",
        parts={"place": (), "acl": ()},
        columns={
            "timestamp": "bigint",
            "action": "string",
            "terminatingruleid": "string",
            "httpsourceid": "string",
            "httprequest": "struct<clientip:string,country:string,uri:string,httpmethod:string,requestid:string>",
        },
    ),
)


def audit_bucket_name(config: Environment) -> str:
    """Return the name by which other accounts know the bucket."""
    return f"bursa-{config.name}-audit-{config.accounts.audit}"


class AuditArchive(Construct):
    """A bucket whose objects are locked for `config.audit.retention_days`, and questions ready to be asked of it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey) -> None:
        """Create the bucket, and let trails, networks and log copies of our accounts alone add to it."""
        super().__init__(scope, construct_id)
        period = Duration.days(config.audit.retention_days)
        self.bucket = PrivateBucket(
            self,
            "Bucket",
            config=config,
            key=key,
            access_logs=None,
            name=audit_bucket_name(config),
            lock=s3.ObjectLockRetention.compliance(period)
            if config.audit.lock_mode == "COMPLIANCE"
            else s3.ObjectLockRetention.governance(period),
            why_single="Locked, in an account where nobody acts; a copy elsewhere would be one more place to guard",
        )
        for service in ("cloudtrail.amazonaws.com", "delivery.logs.amazonaws.com"):
            let_service_add(self.bucket, service, config=config)
        for account, roles in log_copiers(config).items():
            self.bucket.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["s3:ReplicateObject", "s3:ReplicateTags"],
                    resources=[self.bucket.arn_for_objects("*")],
                    # The account, as a role that is not there yet cannot be named; the condition lets in those alone.
                    principals=[iam.AccountPrincipal(account)],
                    conditions={"ArnEquals": {"aws:PrincipalArn": roles}},
                )
            )
        self._add_questions(config, key, list(config.accounts.distinct().values()))

    def _add_questions(self, config: Environment, key: kms.IKey, accounts: list[str]) -> None:
        catalogue = Stack.of(self).account
        name = f"bursa_{config.name}_audit"
        database = glue.CfnDatabase(
            self, "Database", catalog_id=catalogue, database_input=glue.CfnDatabase.DatabaseInputProperty(name=name)
        )
        root = f"s3://{self.bucket.bucket_name}/AWSLogs"
        table = glue.CfnTable(
            self,
            "Trail",
            catalog_id=catalogue,
            database_name=name,
            table_input=glue.CfnTable.TableInputProperty(
                name="trail",
                table_type="EXTERNAL_TABLE",
                partition_keys=[
                    glue.CfnTable.ColumnProperty(name=part, type="string") for part in ("account", "region", "day")
                ],
                parameters={
                    "projection.enabled": "true",
                    "projection.account.type": "enum",
                    "projection.account.values": ",".join(accounts),
                    "projection.region.type": "enum",
                    "projection.region.values": f"{config.region},{config.web_region},{config.edge_region}",
                    "projection.day.type": "date",
                    "projection.day.format": "yyyy/MM/dd",
                    "projection.day.range": "2026/01/01,NOW",
                    "storage.location.template": f"{root}/${{account}}/CloudTrail/${{region}}/${{day}}",
                },
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    columns=[glue.CfnTable.ColumnProperty(name=name, type=kind) for name, kind in COLUMNS.items()],
                    location=root,
                    input_format="com.amazon.emr.cloudtrail.CloudTrailInputFormat",
                    output_format="org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
                    serde_info=glue.CfnTable.SerdeInfoProperty(
                        serialization_library="org.apache.hive.hcatalog.data.JsonSerDe"
                    ),
                ),
            ),
        )
        table.add_resource_dependency(database)
        for log in LOGS:
            self._add_log(config, log, name).add_resource_dependency(database)
        group = athena.CfnWorkGroup(
            self,
            "Questions",
            name=f"bursa-{config.name}-audit",
            description="Who did what",
            work_group_configuration=athena.CfnWorkGroup.WorkGroupConfigurationProperty(
                enforce_work_group_configuration=True,
                publish_cloud_watch_metrics_enabled=True,
                bytes_scanned_cutoff_per_query=100 * 2**30,
                managed_query_results_configuration=athena.CfnWorkGroup.ManagedQueryResultsConfigurationProperty(
                    enabled=True,
                    encryption_configuration=athena.CfnWorkGroup.ManagedStorageEncryptionConfigurationProperty(
                        kms_key=key.key_arn
                    ),
                ),
            ),
        )
        for question, (meaning, query) in QUESTIONS.items():
            athena.CfnNamedQuery(
                self,
                question,
                name=question,
                description=meaning,
                database=name,
                query_string=query,
                work_group=group.name,
            ).add_resource_dependency(group)

    def _add_log(self, config: Environment, log: Log, database: str) -> glue.CfnTable:
        root = f"s3://{self.bucket.bucket_name}/AWSLogs"
        values = {"account": tuple(dict.fromkeys(config.accounts.distinct().values())), **log.parts}
        projection = {
            f"projection.{name}.{what}": value
            for name, listed in values.items()
            for what, value in ((("type", "enum"), ("values", ",".join(listed))) if listed else (("type", "injected"),))
        }
        return glue.CfnTable(
            self,
            log.table.title().replace("_", ""),
            catalog_id=Stack.of(self).account,
            database_name=database,
            table_input=glue.CfnTable.TableInputProperty(
                name=log.table,
                table_type="EXTERNAL_TABLE",
                partition_keys=[glue.CfnTable.ColumnProperty(name=name, type="string") for name in (*values, "day")],
                parameters={
                    "projection.enabled": "true",
                    **projection,
                    "projection.day.type": "date",
                    "projection.day.format": "yyyy/MM/dd",
                    "projection.day.range": "2026/01/01,NOW",
                    "storage.location.template": f"{root}/${{account}}/{log.folder}/${{day}}",
                },
                storage_descriptor=glue.CfnTable.StorageDescriptorProperty(
                    columns=[glue.CfnTable.ColumnProperty(name=name, type=kind) for name, kind in log.columns.items()],
                    location=root,
                    input_format="org.apache.hadoop.mapred.TextInputFormat",
                    output_format="org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
                    serde_info=glue.CfnTable.SerdeInfoProperty(
                        serialization_library="org.openx.data.jsonserde.JsonSerDe"
                    ),
                ),
            ),
        )


def let_service_add(bucket: s3.Bucket, service: str, *, config: Environment, folder: str = "") -> None:
    """Let a service of AWS add records of our accounts alone, each below `AWSLogs/<account>/` and `folder`."""
    accounts = list(config.accounts.distinct().values())
    writer = iam.ServicePrincipal(service)
    ours = {"aws:SourceAccount": accounts}
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["s3:GetBucketAcl", "s3:ListBucket"],
            resources=[bucket.bucket_arn],
            principals=[writer],
            conditions={"StringEquals": ours},
        )
    )
    bucket.add_to_resource_policy(
        iam.PolicyStatement(
            actions=["s3:PutObject"],
            resources=[bucket.arn_for_objects(f"AWSLogs/{account}/{folder}*") for account in accounts],
            principals=[writer],
            conditions={"StringEquals": {**ours, "s3:x-amz-acl": "bucket-owner-full-control"}},
        )
    )
