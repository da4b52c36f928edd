"""What is watched of each kind of resource: which metric, past which bound, and which page of the runbooks helps.

An alarm here is data. `StackAlarms` finds the resources; a new resource of a kind below is watched without another
line. Names and dimensions of metrics are those that AWS documents for each service.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final, TypeVar, cast

from aws_cdk import CfnResource, Fn
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_backup as backup
from aws_cdk import aws_cloudfront as cloudfront
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_elasticache as elasticache
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_events as events
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kinesisanalyticsv2 as kinesisanalytics
from aws_cdk import aws_kinesisfirehose as firehose
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_msk as msk
from aws_cdk import aws_opensearchservice as opensearchservice
from aws_cdk import aws_rds as rds
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as stepfunctions

from exchange_constructs.log_metric import (
    AGREED_AGE,
    ANOMALIES,
    APART,
    ASSETS_APART,
    BOOKS,
    CANARY,
    CANARY_FAILED,
    CANARY_SLOW,
    CHAIN,
    CONTROLS,
    CONTROLS_AMISS,
    CUSTODY,
    CUT_OFF,
    DELIVERIES_LATE,
    DELIVERY,
    DISAGREED,
    DRIFT,
    LAKE,
    LAKE_SET_ASIDE,
    LEDGER_STOPPED,
    LEDGER_UNBALANCED,
    LIMITS_ALONE,
    MARKETS_CLOSED,
    MARKETS_WIDE,
    NOT_COLD,
    PRICES,
    RESERVES_SHORT,
    REVERSED,
    SERVICES,
    STOPPED,
    TOO_HOT,
    TRADED,
    TRADES_FEW,
    TRADES_GIVEN_UP,
    TRADES_STUCK,
    WITHDRAWN_SHARE,
)
from runtime.shared.gauges import BUSINESS

IDLE: Final = "bursa:idle"
"""Metadata of a target group whose service is turned off."""
USAGE_PERCENT_MAX: Final = 80
MINUTES_OF_LAG_MAX: Final = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One alarm: `metric` stayed above or below a number, or far from usual, for `periods` times `minutes`."""

    name: str
    """What is wrong, in the alarm's name."""
    metric: str
    statistic: str = "Maximum"
    above: float | None = None
    below: float | None = None
    deviations: float | None = None
    """Standard deviations from what CloudWatch has learned of each hour and weekday; above and below are both far."""
    minutes: int = 1
    periods: int = 3
    silence_is_bad: bool = False
    """Whether a metric that stops is itself the fault. Else a resource that nobody uses stays quiet."""
    wakes: bool = False
    """Whether somebody is woken. Else it waits for the morning."""
    namespace: str = ""
    """Where it is not the kind's."""
    more: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Dimensions beside the kind's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Everything that is watched of one resource."""

    runbook: str
    """Page under `docs/runbooks/`, without its suffix."""
    namespace: str
    dimensions: Mapping[str, str]
    bounds: tuple[Bound, ...]


Kind = Callable[[Any], Watch | None]
KINDS: Final[dict[str, Kind]] = {}
"""CloudFormation type → what to watch of a resource of it; None where this one publishes nothing."""
_K = TypeVar("_K", bound=Kind)


def _of(*types: str) -> Callable[[_K], _K]:
    def register(kind: _K) -> _K:
        KINDS.update(dict.fromkeys(types, kind))
        return kind

    return register


NOT_WATCHED: Final = MappingProxyType(
    {
        "AWS::ApiGateway::ApiKey": "publishes no metric",
        "AWS::Backup::BackupPlan": "a plan runs jobs; jobs are watched by vault",
        "AWS::Cognito::UserPool": "publishes by client: each client is watched",
        "AWS::CloudFormation::Stack": "the exchange nests no stack",
        "AWS::DirectoryService::SimpleAD": "not used",
        "AWS::EC2::Instance": "hosts belong to groups, which are watched",
        "AWS::ECR::Repository": "publishes no metric",
        "AWS::EventSchemas::Registry": "publishes no metric",
        "AWS::Events::Archive": "publishes no metric; the bus it records is watched by its rules and dead letters",
        "AWS::Events::EventBus": "publishes by rule: each rule and the bus's dead letters are watched",
        "AWS::Glue::Database": "a catalogue entry; the jobs and streams that fill it are watched",
        "AWS::KMS::Key": "a key publishes no load; uses that should not be are alarms of the custody stack",
        "AWS::Logs::LogGroup": "the process that writes it is watched",
        "AWS::MSK::ServerlessCluster": "AWS publishes only traffic by topic; the engine stops, and says so, without it",
        "AWS::RDS::DBInstance": "the cluster it belongs to is watched",
        "AWS::SecretsManager::Secret": "publishes no metric; a failed rotation is an event on the bus of the account",
        "AWS::SSM::Parameter": "publishes no metric",
    }
)
"""What holds data or runs and has no alarm of its own, and why that is right."""


@_of("AWS::ElasticLoadBalancingV2::LoadBalancer")
def _balancer(balancer: elb.CfnLoadBalancer) -> Watch:
    """Watch for errors that the balancer made itself: no target, no port left."""
    application = balancer.type == "application"
    return Watch(
        runbook="balancer",
        namespace="AWS/ApplicationELB" if application else "AWS/NetworkELB",
        dimensions={"LoadBalancer": balancer.attr_load_balancer_full_name},
        bounds=(
            Bound(name="own-errors", metric="HTTPCode_ELB_5XX_Count", statistic="Sum", above=10)
            if application
            else Bound(name="no-port-left", metric="PortAllocationErrorCount", statistic="Sum", above=0, wakes=True),
        ),
    )


@_of("AWS::ElasticLoadBalancingV2::TargetGroup")
def _targets(group: elb.CfnTargetGroup) -> Watch:
    """Watch for targets that do not answer, or none that does."""
    owner = group.node.scope
    if not isinstance(owner, elb.ApplicationTargetGroup | elb.NetworkTargetGroup):
        raise TypeError(f"{group.node.path}: use an ApplicationTargetGroup or NetworkTargetGroup, which know theirs")
    application = isinstance(owner, elb.ApplicationTargetGroup)
    idle = any(entry.type == IDLE for entry in owner.node.metadata)
    return Watch(
        runbook="balancer",
        namespace="AWS/ApplicationELB" if application else "AWS/NetworkELB",
        dimensions={
            "LoadBalancer": owner.first_load_balancer_full_name,
            "TargetGroup": group.attr_target_group_full_name,
        },
        bounds=(
            Bound(name="unhealthy-targets", metric="UnHealthyHostCount", statistic="Minimum", above=0),
            Bound(
                name="no-healthy-target",
                metric="HealthyHostCount",
                below=0 if idle else 1,
                silence_is_bad=not idle,
                wakes=True,
            ),
        ),
    )


@_of("AWS::ECS::Service")
def _service(service: ecs.CfnService) -> Watch:
    """Watch for fewer tasks than wanted, and for tasks that are short of CPU or memory."""
    assert service.cluster is not None, service.node.path
    wanted = 1 if service.desired_count is None else service.desired_count
    return Watch(
        runbook="service",
        namespace="AWS/ECS",
        dimensions={"ClusterName": service.cluster, "ServiceName": service.attr_name},
        bounds=(
            Bound(
                name="too-few-tasks",
                metric="RunningTaskCount",
                namespace="ECS/ContainerInsights",
                statistic="Minimum",
                below=wanted,
                silence_is_bad=wanted > 0,
                wakes=True,
            ),
            Bound(name="cpu", metric="CPUUtilization", statistic="Average", above=USAGE_PERCENT_MAX, periods=5),
            Bound(name="memory", metric="MemoryUtilization", above=USAGE_PERCENT_MAX, periods=5),
        ),
    )


@_of("AWS::AutoScaling::AutoScalingGroup")
def _fleet(group: autoscaling.CfnAutoScalingGroup) -> Watch:
    """Watch for an instance whose checks fail, and for instances that are all busy."""
    return Watch(
        runbook="fleet",
        namespace="AWS/EC2",
        dimensions={"AutoScalingGroupName": group.ref},
        bounds=(
            Bound(name="status-check", metric="StatusCheckFailed", above=0),
            Bound(name="cpu", metric="CPUUtilization", statistic="Average", above=USAGE_PERCENT_MAX, periods=10),
        ),
    )


@_of("AWS::Lambda::Function")
def _function(function: lambda_.CfnFunction) -> Watch:
    """Watch for runs that fail, that are refused for want of concurrency, or that come close to their timeout."""
    timeout_seconds = function.timeout or 3
    return Watch(
        runbook="function",
        namespace="AWS/Lambda",
        dimensions={"FunctionName": function.ref},
        bounds=(
            Bound(name="errors", metric="Errors", statistic="Sum", above=0, minutes=5, periods=2),
            Bound(name="throttles", metric="Throttles", statistic="Sum", above=0, minutes=5, periods=2),
            Bound(name="slow", metric="Duration", above=timeout_seconds * 1000 * USAGE_PERCENT_MAX / 100, minutes=5),
        ),
    )


@_of("AWS::StepFunctions::StateMachine")
def _state_machine(machine: stepfunctions.CfnStateMachine) -> Watch:
    """Watch for executions that ended badly."""
    return Watch(
        runbook="state-machine",
        namespace="AWS/States",
        dimensions={"StateMachineArn": machine.ref},
        bounds=tuple(
            Bound(name=name, metric=metric, statistic="Sum", above=0, minutes=5, periods=1)
            for name, metric in (
                ("failed", "ExecutionsFailed"),
                ("timed-out", "ExecutionsTimedOut"),
                ("aborted", "ExecutionsAborted"),
            )
        ),
    )


@_of("AWS::SQS::Queue")
def _queue(queue: sqs.CfnQueue) -> Watch:
    """Watch the age of a queue that hands on what fails; one that does not is where failures end up."""
    final = queue.redrive_policy is None
    return Watch(
        runbook="dead-letters" if final else "queue",
        namespace="AWS/SQS",
        dimensions={"QueueName": queue.attr_queue_name},
        bounds=(
            Bound(name="not-empty", metric="ApproximateNumberOfMessagesVisible", above=0, minutes=5, periods=1)
            if final
            else Bound(
                name="old", metric="ApproximateAgeOfOldestMessage", above=MINUTES_OF_LAG_MAX * 60, minutes=5, periods=1
            ),
        ),
    )


@_of("AWS::SNS::Topic")
def _topic(topic: sns.CfnTopic) -> Watch:
    """Watch for messages that reached nobody."""
    return Watch(
        runbook="topic",
        namespace="AWS/SNS",
        dimensions={"TopicName": topic.attr_topic_name},
        bounds=(
            Bound(
                name="undelivered",
                metric="NumberOfNotificationsFailed",
                statistic="Sum",
                above=0,
                minutes=5,
                periods=1,
            ),
        ),
    )


@_of("AWS::Events::Rule")
def _rule(rule: events.CfnRule) -> Watch:
    """Watch for a target that could not be called."""
    if rule.event_bus_name is None:
        dimensions = {"RuleName": rule.ref}
    else:  # arn:...:rule/<bus>/<rule>; a reference to the rule itself is not its name alone
        dimensions = {"EventBusName": Fn.select(1, _arn_parts(rule)), "RuleName": Fn.select(2, _arn_parts(rule))}
    return Watch(
        runbook="events",
        namespace="AWS/Events",
        dimensions=dimensions,
        bounds=(Bound(name="failed", metric="FailedInvocations", statistic="Sum", above=0, minutes=5, periods=1),),
    )


def _arn_parts(resource: events.CfnRule) -> list[str]:
    parts: list[str] = Fn.split("/", resource.attr_arn)
    return parts


@_of("AWS::Scheduler::Schedule")
def _schedule(schedule: scheduler.CfnSchedule) -> Watch:
    """Watch for a target that could not be called."""
    return Watch(
        runbook="events",
        namespace="AWS/Scheduler",
        dimensions={"ScheduleGroup": schedule.group_name or "default"},
        bounds=(Bound(name="failed", metric="TargetErrorCount", statistic="Sum", above=0, minutes=5, periods=1),),
    )


@_of("AWS::Kinesis::Stream")
def _stream(stream: kinesis.CfnStream) -> Watch:
    """Watch for readers that fall behind, and for writers that are refused."""
    return Watch(
        runbook="stream",
        namespace="AWS/Kinesis",
        dimensions={"StreamName": stream.ref},
        bounds=(
            Bound(name="readers-behind", metric="GetRecords.IteratorAgeMilliseconds", above=60_000, periods=5),
            Bound(name="refused", metric="WriteProvisionedThroughputExceeded", statistic="Sum", above=0),
            Bound(name="failed", metric="PutRecords.FailedRecords", statistic="Sum", above=0),
        ),
    )


@_of("AWS::KinesisFirehose::DeliveryStream")
def _delivery(stream: firehose.CfnDeliveryStream) -> Watch:
    """Watch for records that are late in the lake."""
    return Watch(
        runbook="stream",
        namespace="AWS/Firehose",
        dimensions={"DeliveryStreamName": stream.ref},
        bounds=(
            Bound(
                name="late", metric="DeliveryToS3.DataFreshness", above=MINUTES_OF_LAG_MAX * 60, minutes=5, periods=2
            ),
        ),
    )


@_of("AWS::KinesisAnalyticsV2::Application")
def _flink(application: kinesisanalytics.CfnApplication) -> Watch:
    """Watch for a job that stands still."""
    return Watch(
        runbook="stream",
        namespace="AWS/KinesisAnalytics",
        dimensions={"Application": application.ref},
        bounds=(Bound(name="down", metric="downtime", above=0, periods=5),),
    )


@_of("AWS::DynamoDB::GlobalTable", "AWS::DynamoDB::Table")
def _table(table: dynamodb.CfnGlobalTable | dynamodb.CfnTable) -> Watch:
    """Watch for requests that were refused, or failed inside AWS."""
    return Watch(
        runbook="table",
        namespace="AWS/DynamoDB",
        dimensions={"TableName": table.ref},
        bounds=(
            Bound(name="reads-throttled", metric="ReadThrottleEvents", statistic="Sum", above=0),
            Bound(name="writes-throttled", metric="WriteThrottleEvents", statistic="Sum", above=0),
            Bound(
                name="failing",
                metric="SystemErrors",
                statistic="Sum",
                above=0,
                more={"Operation": "GetItem"},
                wakes=True,
            ),
        ),
    )


@_of("AWS::RDS::DBCluster")
def _database(cluster: rds.CfnDBCluster) -> Watch:
    """Watch a database that is busy, close to its ceiling, or locked against itself."""
    return Watch(
        runbook="database",
        namespace="AWS/RDS",
        dimensions={"DBClusterIdentifier": cluster.ref},
        bounds=(
            Bound(name="cpu", metric="CPUUtilization", statistic="Average", above=USAGE_PERCENT_MAX, periods=5),
            Bound(name="near-ceiling", metric="ACUUtilization", above=USAGE_PERCENT_MAX, periods=5, wakes=True),
            Bound(name="deadlocks", metric="Deadlocks", statistic="Sum", above=0),
        ),
    )


@_of("AWS::RDS::DBProxy")
def _database_proxy(proxy: rds.CfnDBProxy) -> Watch:
    """Watch for clients that wait for a connection. The metric is in microseconds."""
    return Watch(
        runbook="database",
        namespace="AWS/RDS",
        dimensions={"ProxyName": proxy.ref},
        bounds=(Bound(name="waiting", metric="DatabaseConnectionsBorrowLatency", above=100_000, periods=5),),
    )


@_of("AWS::ElastiCache::ServerlessCache")
def _cache(cache: elasticache.CfnServerlessCache) -> Watch:
    """Watch for refused work."""
    return Watch(
        runbook="cache",
        namespace="AWS/ElastiCache",
        dimensions={"clusterId": cache.serverless_cache_name},
        bounds=(Bound(name="throttled", metric="ThrottledCmds", statistic="Sum", above=0),),
    )


@_of("AWS::MSK::Cluster")
def _journal(cluster: msk.CfnCluster) -> Watch:
    """Watch for partitions without a leader, brokers without a controller, disks that fill."""
    return Watch(
        runbook="journal",
        namespace="AWS/Kafka",
        dimensions={"Cluster Name": cluster.cluster_name},
        bounds=(
            Bound(name="offline-partitions", metric="OfflinePartitionsCount", above=0, wakes=True),
            Bound(name="no-controller", metric="ActiveControllerCount", below=1, wakes=True),
            *(
                Bound(
                    name=f"disk-of-broker-{number}",
                    metric="KafkaDataLogsDiskUsed",
                    above=USAGE_PERCENT_MAX,
                    minutes=5,
                    more={"Broker ID": str(number)},
                )
                for number in range(1, int(cluster.number_of_broker_nodes) + 1)
            ),
        ),
    )


@_of("AWS::S3::Bucket")
def _bucket(bucket: s3.CfnBucket) -> Watch | None:
    """Watch for requests that fail, where the bucket publishes them."""
    metrics = bucket.metrics_configurations
    if not metrics:
        return None
    return Watch(
        runbook="bucket",
        namespace="AWS/S3",
        dimensions={"BucketName": bucket.ref, "FilterId": ENTIRE_BUCKET},
        bounds=(Bound(name="failing", metric="5xxErrors", statistic="Sum", above=0, minutes=5),),
    )


ENTIRE_BUCKET: Final = "EntireBucket"
"""Id of the metric of all requests to a bucket."""


@_of("AWS::Backup::BackupVault", "AWS::Backup::LogicallyAirGappedBackupVault")
def _vault(vault: backup.CfnBackupVault | backup.CfnLogicallyAirGappedBackupVault) -> Watch:
    """Watch for backups that were not made."""
    return Watch(
        runbook="backup",
        namespace="AWS/Backup",
        dimensions={"BackupVaultName": vault.ref},
        bounds=(
            Bound(name="failed", metric="NumberOfBackupJobsFailed", statistic="Sum", above=0, minutes=60, periods=1),
        ),
    )


LOG_BOUNDS: Final = MappingProxyType(
    {
        AGREED_AGE: Bound(name="standstill", metric="", above=600, periods=5, silence_is_bad=True, wakes=True),
        REVERSED: Bound(name="any", metric="", statistic="Sum", above=0, periods=1, wakes=True),
        DISAGREED: Bound(name="any", metric="", statistic="Sum", above=0, periods=1, wakes=True),
        STOPPED: Bound(name="any", metric="", above=0, periods=5, silence_is_bad=True),
        APART: Bound(name="unfair", metric="", above=50_000, periods=5, wakes=True),
        CANARY_FAILED: Bound(name="any", metric="", above=0, periods=3, silence_is_bad=True, wakes=True),
        # Three looks in a row: while a standby takes over, one may fail. Silence may hide a market that is open.
        CONTROLS_AMISS: Bound(name="any", metric="", above=0, periods=3, silence_is_bad=True, wakes=True),
        CANARY_SLOW: Bound(name="slow", metric="", above=2_000, periods=5),
        # An hour, so that a comparison that fails to run is noticed as well; it runs more often.
        ASSETS_APART: Bound(name="any", metric="", above=0, minutes=60, periods=1, silence_is_bad=True, wakes=True),
        RESERVES_SHORT: Bound(name="any", metric="", above=0, minutes=60, periods=1, wakes=True),
        # Every look of two hours: a large deposit is hot for a while, and custodians have that time to move it.
        TOO_HOT: Bound(name="any", metric="", statistic="Minimum", above=0, minutes=60, periods=2, wakes=True),
        NOT_COLD: Bound(name="any", metric="", statistic="Minimum", above=0, minutes=60, periods=2),
        # Half a day without a line between two nights is usual, a day and a half is a night that failed.
        LAKE_SET_ASIDE: Bound(name="any", metric="", above=0, minutes=720, periods=3, silence_is_bad=True),
        # Three hours of hourly looks: what is late stays late, and a look that failed is made good by the next.
        DELIVERIES_LATE: Bound(name="any", metric="", above=0, minutes=180, periods=1, silence_is_bad=True),
        LEDGER_UNBALANCED: Bound(name="any", metric="", above=0, minutes=5, periods=1, silence_is_bad=True, wakes=True),
        # Some market at every look of five minutes: an auction is shorter than that.
        MARKETS_CLOSED: Bound(
            name="any", metric="", statistic="Minimum", above=0, periods=5, silence_is_bad=True, wakes=True
        ),
        MARKETS_WIDE: Bound(name="any", metric="", statistic="Minimum", above=0, periods=5),
        # Fewer than configuration expects at every look of a quarter of an hour; and what no number says beforehand.
        TRADES_FEW: Bound(name="any", metric="", statistic="Minimum", above=0, periods=15),
        TRADED: Bound(name="unusual", metric="", statistic="Sum", deviations=4, minutes=15, periods=3),
        # The halt of all withdrawals comes by itself at 1,000,000.
        WITHDRAWN_SHARE: Bound(name="fast", metric="", above=800_000, periods=1, wakes=True),
        # Longer than a standby needs to take over.
        CUT_OFF: Bound(name="no-engine", metric="", statistic="Minimum", above=0, periods=3),
        LIMITS_ALONE: Bound(name="not-shared", metric="", above=0, periods=5),
        TRADES_STUCK: Bound(name="not-published", metric="", above=120),
        TRADES_GIVEN_UP: Bound(name="any", metric="", above=0, periods=1),
        LEDGER_STOPPED: Bound(name="standstill", metric="", above=120, silence_is_bad=True, wakes=True),
        DRIFT: Bound(name="high", metric="", statistic="Average", above=200_000, minutes=60, periods=2),
    }
)
"""Metric that is read from log lines, without the chain or service in its name → what is too much."""
LOG_RUNBOOKS: Final = MappingProxyType(
    {
        ANOMALIES: "model",
        BOOKS: "ledger-sum",
        BUSINESS: "business",
        CANARY: "canary",
        CHAIN: "chain",
        CONTROLS: "market-controls",
        CUSTODY: "custody-tiers",
        DELIVERY: "delivery",
        LAKE: "lake",
        PRICES: "price-feed",
        SERVICES: "degraded",
    }
)
"""Namespace of metrics that are read from log lines → the page for them."""


@_of("AWS::Logs::MetricFilter")
def _log_metric(made: logs.CfnMetricFilter) -> Watch:
    """Watch what log lines tell: the pulse of services, and what functions found."""
    (given,) = cast(list[logs.CfnMetricFilter.MetricTransformationProperty], made.metric_transformations)
    bound = LOG_BOUNDS[given.metric_name.partition("-")[0]]
    return Watch(
        runbook=LOG_RUNBOOKS[given.metric_namespace],
        namespace=given.metric_namespace,
        dimensions={},
        bounds=(replace(bound, metric=given.metric_name),),
    )


@_of("AWS::EC2::Volume")
def _volume(volume: ec2.CfnVolume) -> Watch:
    """Watch for a disk that does not answer."""
    return Watch(
        runbook="fleet",
        namespace="AWS/EBS",
        dimensions={"VolumeId": volume.ref},
        bounds=(Bound(name="stalled", metric="VolumeStalledIOCheck", above=0),),
    )


@_of("AWS::EC2::VPNConnection")
def _vpn(connection: ec2.CfnVPNConnection) -> Watch:
    """Watch a partner's tunnels: 1 is both up, 0 is both down."""
    return Watch(
        runbook="partner-link",
        namespace="AWS/VPN",
        dimensions={"VpnId": connection.ref},
        bounds=(Bound(name="down", metric="TunnelState", below=1, silence_is_bad=True),),
    )


@_of("AWS::EC2::TransitGateway")
def _transit(gateway: ec2.CfnTransitGateway) -> Watch:
    """Watch for packets that found no route to a partner."""
    return Watch(
        runbook="partner-link",
        namespace="AWS/TransitGateway",
        dimensions={"TransitGateway": gateway.ref},
        bounds=(Bound(name="no-route", metric="PacketDropCountNoRoute", statistic="Sum", above=0, periods=5),),
    )


@_of("AWS::EC2::NatGateway")
def _nat(gateway: ec2.CfnNatGateway) -> Watch:
    """Watch for connections to outside that found no free port."""
    return Watch(
        runbook="egress",
        namespace="AWS/NATGateway",
        dimensions={"NatGatewayId": gateway.ref},
        bounds=(Bound(name="no-port-left", metric="ErrorPortAllocation", statistic="Sum", above=0),),
    )


@_of("AWS::OpenSearchService::Domain")
def _search(domain: opensearchservice.CfnDomain) -> Watch:
    """Watch for a lost primary shard."""
    return Watch(
        runbook="search",
        namespace="AWS/ES",
        dimensions={"DomainName": domain.ref, "ClientId": domain.stack.account},
        bounds=(Bound(name="red", metric="ClusterStatus.red", above=0),),
    )


@_of("AWS::SageMaker::Endpoint")
def _endpoint(endpoint: sagemaker.CfnEndpoint) -> Watch:
    """Watch for a model that answers with errors."""
    return Watch(
        runbook="model",
        namespace="AWS/SageMaker",
        dimensions={"EndpointName": endpoint.attr_endpoint_name, "VariantName": "AllTraffic"},
        bounds=(Bound(name="errors", metric="Invocation5XXErrors", statistic="Sum", above=0, minutes=5),),
    )


@_of("AWS::Cognito::UserPoolClient")
def _sign_in(client: cognito.CfnUserPoolClient) -> Watch:
    """Watch for sign-ins that were turned away for want of quota."""
    return Watch(
        runbook="identity",
        namespace="AWS/Cognito",
        dimensions={"UserPool": client.user_pool_id, "UserPoolClient": client.ref},
        bounds=(Bound(name="throttled", metric="SignInThrottles", statistic="Sum", above=0, minutes=5),),
    )


@_of("AWS::CloudFront::Distribution")
def _distribution(distribution: cloudfront.CfnDistribution) -> Watch | None:
    """Watch for answers that failed. CloudFront publishes in one region, and an alarm reads only its own."""
    if distribution.stack.region != GLOBAL_METRICS_REGION:
        return None
    return Watch(
        runbook="edge",
        namespace="AWS/CloudFront",
        dimensions={"DistributionId": distribution.ref, "Region": "Global"},
        bounds=(Bound(name="errors", metric="5xxErrorRate", statistic="Average", above=1, minutes=5, wakes=True),),
    )


GLOBAL_METRICS_REGION: Final = "us-east-1"
"""Where global services publish."""


@_of("AWS::Route53::HealthCheck")
def _health_check(check: route53.CfnHealthCheck) -> Watch | None:
    """Watch for an address that the world cannot reach."""
    if check.stack.region != GLOBAL_METRICS_REGION:
        return None
    return Watch(
        runbook="edge",
        namespace="AWS/Route53",
        dimensions={"HealthCheckId": check.ref},
        bounds=(Bound(name="down", metric="HealthCheckStatus", statistic="Minimum", below=1, wakes=True),),
    )


def watch_of(resource: CfnResource) -> Watch | None:
    """Return what is watched of `resource`, or None where nothing is."""
    kind = KINDS.get(_type_name(type(resource)) or resource.cfn_resource_type)
    return kind(resource) if kind else None


@cache
def _type_name(resource_class: type[CfnResource]) -> str:
    """Return the type that all resources of a class have, or nothing for the class of any type: asked once a class."""
    return getattr(resource_class, "CFN_RESOURCE_TYPE_NAME", "")
