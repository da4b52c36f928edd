"""One small Lambda function, what wakes it, and where what it could not handle goes."""

from collections.abc import Mapping
from datetime import date
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kinesis as kinesis
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.function_platform import PYTHON, FunctionPlatform
from exchange_constructs.nag import accept
from exchange_constructs.private_network import APPLICATION, may_call_aws
from exchange_constructs.runtime_code import function_code
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

METRICS_NAMESPACE: Final = "Bursa"
EVENT_AGE_MAX: Final = Duration.hours(1)
EVENT_ATTEMPTS_MAX: Final = 10
RECORD_AGE_MAX: Final = Duration.hours(12)
RECORD_ATTEMPTS_MAX: Final = 5


class EventFunction(Construct):
    """Runs `runtime.<service>.<handler>` inside private subnets, as itself, a few at a time, traced and logged.

    Whatever wakes it is retried a bounded number of times and then left in `undelivered`, never dropped. A delivery can
    come twice, so a handler must not mind; `idempotent` gives it the shared table to remember by.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        service: str,
        handler: str = "handler.handle",
        description: str,
        environment: Mapping[str, str] | None = None,
        timeout: Duration | None = None,
        memory_mib: int = 512,
        concurrency: int = 5,
        idempotent: bool = False,
        role_name: str | None = None,
        tier: str = APPLICATION,
    ) -> None:
        """Create the function; nothing wakes it yet.

        `handler` is module and function within the service. `timeout` is 30 seconds unless given. `concurrency` is
        reserved from what the account has, so the sum over all functions must stay 100 below its quota. Give a
        `role_name` only where another account must know the role beforehand. The function runs in subnets of `tier`;
        EGRESS is for one that calls hosts outside.
        """
        super().__init__(scope, construct_id)
        self._key = platform.keys.messages
        self.undelivered = DeadLetters(self, "Undelivered", config=config, key=self._key, last=platform.last_letters)
        self.role = ServiceRole(
            self, "Role", service="lambda.amazonaws.com", description=f"What {service} may do", name=role_name
        )
        self.role.add_managed_policy(platform.network_access)
        self.log_group = ServiceLogs(self, "Logs", config=config, key=platform.keys.logs)
        self.log_group.grant_write(self.role)
        group = ec2.SecurityGroup(
            self, "Access", vpc=platform.vpc, description=f"Function {construct_id}", allow_all_outbound=False
        )
        may_call_aws(group)
        self.connections = ec2.Connections(security_groups=[group])
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            runtime=PYTHON,
            architecture=lambda_.Architecture.ARM_64,
            code=function_code(service),
            handler=f"runtime.{service}.{handler}",
            layers=[platform.libraries] if platform.libraries else None,
            environment={
                "SERVICE": service,
                "POWERTOOLS_SERVICE_NAME": service,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                **({"IDEMPOTENCY_TABLE": platform.idempotency.table.table_name} if idempotent else {}),
                **(environment or {}),
            },
            # Under the key that the function may use anyway, for its dead letters.
            environment_encryption=self._key,
            timeout=timeout or Duration.seconds(30),
            memory_size=memory_mib,
            reserved_concurrent_executions=concurrency,
            role=self.role,
            vpc=platform.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=tier),
            security_groups=[group],
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            dead_letter_queue=self.undelivered,
        )
        # The construct's own switch would write a star into each function's policy; the shared policy has it once.
        self._resource.tracing_config = lambda_.CfnFunction.TracingConfigProperty(mode="Active")
        self.undelivered.grant_leave(self.role)
        if idempotent:
            platform.idempotency.grant_use(self.role)

    @property
    def grant_principal(self) -> iam.IPrincipal:
        """The function's role, so that `grant_*` of others take the function itself."""
        return self.role

    def grant_call(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` call the function and wait for its answer; not its versions, which have no callers."""
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["lambda:InvokeFunction"], resource_arns=[self.function.function_arn]
        )

    def on_event(
        self,
        name: str,
        *,
        bus: events.IEventBus | None,
        pattern: events.EventPattern,
        given: events.RuleTargetInput | None = None,
    ) -> events.Rule:
        """Wake the function with every event on `bus` that matches `pattern`. The rule lives in this stack.

        None is the bus to which AWS tells what happens in the account. The function is `given` the event as it is,
        unless told otherwise.
        """
        rule = events.Rule(self, name, event_bus=bus, event_pattern=pattern)
        rule.add_target(self._target(given))
        return rule

    def on_schedule(self, name: str, *, schedule: events.Schedule, description: str) -> events.Rule:
        """Wake the function at the times of `schedule`, which are in UTC."""
        rule = events.Rule(self, name, schedule=schedule, description=description)
        rule.add_target(self._target())
        return rule

    def follow_stream(
        self,
        name: str,
        *,
        stream: kinesis.IStream,
        batch_size: int = 100,
        batch_window: Duration | None = None,
        parallel_batches: int = 1,
    ) -> None:
        """Hand the function every record of `stream`, in order per partition key, from the oldest that is kept.

        The function reports the records it could not handle; a batch that keeps failing is halved until the bad record
        is alone, and what then still fails is noted in `undelivered` while the rest goes on. `batch_window` is how long
        to wait for a fuller batch (1 second unless given).
        """
        stream.grant(
            self.role,
            "kinesis:DescribeStream",
            "kinesis:DescribeStreamSummary",
            "kinesis:GetRecords",
            "kinesis:GetShardIterator",
            "kinesis:ListShards",
        )
        if stream.encryption_key:
            stream.encryption_key.grant(self.role, "kms:Decrypt")
        lambda_.EventSourceMapping(
            self,
            name,
            target=self.function,
            event_source_arn=stream.stream_arn,
            starting_position=lambda_.StartingPosition.TRIM_HORIZON,
            batch_size=batch_size,
            max_batching_window=batch_window or Duration.seconds(1),
            parallelization_factor=parallel_batches,
            report_batch_item_failures=True,
            bisect_batch_on_error=True,
            retry_attempts=RECORD_ATTEMPTS_MAX,
            max_record_age=RECORD_AGE_MAX,
            # By its ARN alone: CDK would otherwise grant more than sending. `grant_leave` has granted that.
            on_failure=sources.SqsDlq(sqs.Queue.from_queue_arn(self, f"{name}Undelivered", self.undelivered.queue_arn)),
        )

    def follow_queue(
        self, name: str, *, queue: sqs.IQueue, key: kms.IKey, batch_size: int = 10, batch_window: Duration | None = None
    ) -> None:
        """Hand the function the messages of `queue`, which is under `key`.

        The function reports the messages it could not handle; they come again until the queue's own dead-letter queue
        takes them. The queue's visibility timeout must be at least six times the function's timeout.
        """
        queue.grant(
            self.role,
            "sqs:ChangeMessageVisibility",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
        )
        key.grant(self.role, "kms:Decrypt")
        mapping = lambda_.EventSourceMapping(
            self,
            name,
            target=self.function,
            event_source_arn=queue.queue_arn,
            batch_size=batch_size,
            max_batching_window=batch_window,
            report_batch_item_failures=True,
        )
        accept(
            mapping,
            "Serverless-LambdaEventSourceMappingDestination",
            reason="A mapping on SQS has no destination: what fails goes to the dead-letter queue of the queue itself",
            expires=date(2027, 11, 20),
        )

    def _target(self, given: events.RuleTargetInput | None = None) -> targets.LambdaFunction:
        return targets.LambdaFunction(
            self.function,
            event=given,
            dead_letter_queue=self.undelivered,
            max_event_age=EVENT_AGE_MAX,
            retry_attempts=EVENT_ATTEMPTS_MAX,
        )

    @property
    def _resource(self) -> lambda_.CfnFunction:
        resource = self.function.node.default_child
        assert isinstance(resource, lambda_.CfnFunction)
        return resource
