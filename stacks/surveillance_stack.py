"""Surveillance: who watches trades and orders, what is remembered, and where a case goes."""

from aws_cdk import Duration
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.model import Environment
from exchange_constructs.anomaly_model import model_name
from exchange_constructs.business_events import BusinessEvents
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.event_function import EVENT_AGE_MAX, EVENT_ATTEMPTS_MAX, EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.ledger_database import READER
from exchange_constructs.log_metric import DRIFT, LogMetrics
from exchange_constructs.private_queue import PrivateQueue
from exchange_constructs.private_topic import PrivateTopic
from exchange_constructs.record_bucket import RecordBucket
from exchange_constructs.record_table import RecordTable
from exchange_constructs.stream_job import StreamJob
from exchange_constructs.switch import Switch
from runtime.shared.business_events import CaseOpened, PriceNotice
from runtime.surveillance.job_settings import GROUP
from stacks.base_stack import ExchangeStack
from stacks.data_stack import DataStack
from stacks.foundation_stack import FoundationStack

SWEEP_EVERY = Duration.minutes(5)
FUNCTION_MINUTES = 1
"""Timeout of a function; what is taken from a queue stays out of sight six times as long, as AWS asks for."""


class SurveillanceStack(ExchangeStack):
    """Functions follow the trade stream and sweep the ledger; a case reaches people by a queue.

    What finds something without being one of them, such as the Flink job, says so in the queue of findings.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        foundation: FoundationStack,
        data: DataStack,
        platform: FunctionPlatform,
    ) -> None:
        """Create memory, functions, queue and topic."""
        super().__init__(scope, construct_id, config=config, description="Market surveillance: detectors, cases")
        self._config, self._data, self._platform = config, data, platform
        key = foundation.keys.records
        self.cases = RecordTable(self, "Cases", config=config, key=key, item_key="case_id")
        self.owners = RecordTable(
            self, "Owners", config=config, key=key, item_key="account", item_key_type=dynamodb.AttributeType.NUMBER
        )
        self.evidence = RecordBucket(
            self,
            "Evidence",
            config=config,
            key=key,
            access_logs=foundation.access_logs,
            years=config.records.evidence_years,
            copied=foundation.copies.of("cases/"),
        )
        self.follower = self._follower()
        self.sweeper = self._sweeper()
        self.reviewer = self._reviewer()
        self.findings = self._queue("Findings", unread="Unrecorded", attempts_max=5)
        self.recorder = self._recorder()
        self.scorer = self._scorer()
        Switch(self, "RunsStreamJob", on=config.analytics.stream_job.on).governs(self._stream_job())
        self._route_cases()
        self._tell_of_prices()

    def _follower(self) -> EventFunction:
        watches = RecordTable(
            self,
            "Watches",
            config=self._config,
            key=self._platform.keys.records,
            item_key="market",
            item_key_type=dynamodb.AttributeType.NUMBER,
        )
        function = self._function(
            "Follower",
            handler="follow",
            description="Finds wash trades, rings, spikes, pumps and price moves in the trade stream",
            environment={"WATCH_TABLE": watches.table_name, "OWNER_TABLE": self.owners.table_name},
        )
        watches.grant_calls(function.role, "GetItem", "PutItem")
        self.owners.grant_calls(function.role, "BatchGetItem")
        self._let_open_cases(function)
        function.follow_stream("Trades", stream=self._data.trades.stream)
        return function

    def _sweeper(self) -> EventFunction:
        function = self._function(
            "Sweeper",
            handler="sweep",
            description="Finds spoofing and layering in the orders taken back lately",
            environment={
                "OWNER_TABLE": self.owners.table_name,
                "DATABASE_URL": self._data.database.proxy_url(READER),
                "CATALOGUE_PARAMETER": self._data.catalogue.name,
            },
            timeout=Duration.minutes(4),  # less than from one sweep to the next
        )
        self.owners.grant_calls(function.role, "BatchGetItem")
        self._let_open_cases(function)
        self._data.catalogue.grant_read(function.role)
        self._data.database.let_read(function)
        function.on_schedule(
            "Sweep", schedule=events.Schedule.rate(SWEEP_EVERY), description="Orders taken back lately"
        )
        return function

    def _reviewer(self) -> EventFunction:
        """Return the function that takes a person's decision; whoever may invoke it is a reviewer."""
        function = self._function(
            "Reviewer", handler="review", description="Takes a reviewer's decision on a case", environment={}
        )
        self.cases.grant_calls(function.role, "UpdateItem")
        self.evidence.grant_add(function.role, prefix="cases/")
        return function

    def _recorder(self) -> EventFunction:
        function = self._function(
            "Recorder", handler="record", description="Takes findings of the queue to their cases", environment={}
        )
        self._let_open_cases(function)
        function.follow_queue("Found", queue=self.findings, key=self._platform.keys.messages)
        return function

    def _stream_job(self) -> StreamJob:
        """Return the job that runs the follower's detectors; it opens no case itself."""
        job = StreamJob(
            self,
            "StreamJob",
            config=self._config,
            platform=self._platform,
            key=self._platform.keys.records,
            service=GROUP,
            entry="runtime/surveillance/flink_job.py",
            properties={
                "region": self.region,
                "stream_arn": self._data.trades.stream.stream_arn,
                "queue_url": self.findings.queue_url,
                "owner_table": self.owners.table_name,
            },
        )
        self._data.trades.grant_follow(job.role)
        self.owners.grant_calls(job.role, "BatchGetItem")
        self._let_tell(job.role)
        return job

    def _scorer(self) -> EventFunction:
        """Return the function that scores trading by the minute; it asks the endpoint while config names a version."""
        key, name = self._platform.keys.records, model_name(self._config)
        is_served = self._config.analytics.model.served_version > 0
        minutes = RecordTable(
            self,
            "Minutes",
            config=self._config,
            key=key,
            item_key="market",
            item_key_type=dynamodb.AttributeType.NUMBER,
        )
        function = EventFunction(
            self,
            "Scorer",
            config=self._config,
            platform=self._platform,
            service="anomaly",
            handler="handler.follow",
            description="Finds minutes of trading that are unlike those before",
            environment={
                "MEMORY_TABLE": minutes.table_name,
                "FINDING_QUEUE": self.findings.queue_url,
                "ENDPOINT": name if is_served else "",
            },
            timeout=Duration.minutes(FUNCTION_MINUTES),
        )
        minutes.grant_calls(function.role, "GetItem", "PutItem")
        self._let_tell(function.role)
        function.follow_stream("Trades", stream=self._data.trades.stream)
        LogMetrics(self, "Drift", log_group=function.log_group, metrics=(DRIFT,))
        asks = iam.ManagedPolicy(
            self,
            "AsksModel",
            description="Asks the endpoint of the model for scores",
            roles=[function.role],
            statements=[
                iam.PolicyStatement(
                    actions=["sagemaker:InvokeEndpoint"],
                    resources=[self.format_arn(service="sagemaker", resource="endpoint", resource_name=name)],
                )
            ],
        )
        Switch(self, "AsksEndpoint", on=is_served).governs(asks)
        return function

    def _let_tell(self, grantee: iam.IGrantable) -> None:
        self.findings.grant(grantee, "sqs:SendMessage")
        self._platform.keys.messages.grant(grantee, "kms:Decrypt", "kms:GenerateDataKey")

    def _function(
        self, name: str, *, handler: str, description: str, environment: dict[str, str], timeout: Duration | None = None
    ) -> EventFunction:
        return EventFunction(
            self,
            name,
            config=self._config,
            platform=self._platform,
            service="surveillance",
            handler=f"handler.{handler}",
            description=description,
            environment={
                "CASE_TABLE": self.cases.table_name,
                "EVIDENCE_BUCKET": self.evidence.bucket_name,
                "EVENT_BUS": self._data.events.bus.event_bus_name,
                **environment,
            },
            timeout=timeout or Duration.minutes(FUNCTION_MINUTES),
        )

    def _let_open_cases(self, function: EventFunction) -> None:
        self.cases.grant_calls(function.role, "PutItem", "UpdateItem")
        self.evidence.grant_add(function.role, prefix="cases/")
        self._data.events.grant_publish(function.role)

    def _route_cases(self) -> None:
        """Every case waits in a queue until the reviewers' tool has taken it."""
        self.case_queue = self._queue("CaseQueue", unread="UnreadCases", attempts_max=10)
        letters = self.case_queue.dead_letter_queue
        assert letters is not None
        rule = events.Rule(
            self,
            "CaseOpened",
            event_bus=self._data.events.bus,
            event_pattern=BusinessEvents.pattern(CaseOpened),
            description="Cases, to those who review them",
        )
        # By its ARN: CDK would otherwise open the key to the bus without a condition; here the queue is opened by hand.
        arn = self.format_arn(service="sqs", resource=self.case_queue.queue_name)
        queue = sqs.Queue.from_queue_arn(self, "CaseTarget", arn)
        rule.add_target(
            targets.SqsQueue(
                queue, dead_letter_queue=letters.queue, max_event_age=EVENT_AGE_MAX, retry_attempts=EVENT_ATTEMPTS_MAX
            )
        )
        self.case_queue.add_to_resource_policy(_from_rule(rule, "sqs:SendMessage", self.case_queue.queue_arn))

    def _queue(self, name: str, *, unread: str, attempts_max: int) -> PrivateQueue:
        """Return a queue whose messages, taken `attempts_max` times and not deleted, go to dead letters `unread`."""
        key, last = self._platform.keys.messages, self._platform.last_letters
        letters = DeadLetters(self, unread, config=self._config, key=key, last=last)
        return PrivateQueue(
            self,
            name,
            config=self._config,
            key=key,
            dead_letters=letters,
            attempts_max=attempts_max,
            taken_for=Duration.minutes(6 * FUNCTION_MINUTES),
        )

    def _tell_of_prices(self) -> None:
        """Tell of every price that moves much within minutes: by a topic, for partners, the page and the supervisor."""
        key, last = self._platform.keys.messages, self._platform.last_letters
        untold = DeadLetters(self, "UntoldPrices", config=self._config, key=key, last=last)
        self.price_notices = PrivateTopic(self, "PriceNotices", key=key)
        rule = events.Rule(
            self,
            "PriceMoved",
            event_bus=self._data.events.bus,
            event_pattern=BusinessEvents.pattern(PriceNotice),
            description="Prices that moved much within minutes",
        )
        rule.add_target(
            targets.SnsTopic(
                sns.Topic.from_topic_arn(
                    self, "PriceTarget", self.format_arn(service="sns", resource=self.price_notices.topic_name)
                ),
                dead_letter_queue=untold,
                max_event_age=EVENT_AGE_MAX,
                retry_attempts=EVENT_ATTEMPTS_MAX,
            )
        )
        self.price_notices.add_to_resource_policy(_from_rule(rule, "sns:Publish", self.price_notices.topic_arn))


def _from_rule(rule: events.Rule, action: str, target_arn: str) -> iam.PolicyStatement:
    """Let `rule`, and no other, do `action` on its target."""
    return iam.PolicyStatement(
        actions=[action],
        resources=[target_arn],
        principals=[iam.ServicePrincipal("events.amazonaws.com")],
        conditions={"ArnEquals": {"aws:SourceArn": rule.rule_arn}},
    )
