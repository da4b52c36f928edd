"""What everything else stands on: keys, the buckets of access records and of copies, the operators' topics."""

from aws_cdk import aws_iam as iam
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.log_copies import LogCopies
from exchange_constructs.operator_topics import OperatorTopics
from exchange_constructs.private_bucket import AccessLogBucket
from exchange_constructs.record_copies import RecordCopies
from stacks.base_stack import ExchangeStack


class FoundationStack(ExchangeStack):
    """Deployed right after the archive that its logs are copied into, changed hardly ever."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create keys, the two buckets and operators' topics."""
        super().__init__(scope, construct_id, config=config, description="Keys, access records, operators' topics")
        self.keys = EncryptionKeys(self, "Keys", config=config)
        self.access_logs = AccessLogBucket(self, "AccessLogs", config=config)
        LogCopies(self, "LogCopies", config=config, part="core", bucket=self.access_logs)
        self.copies = RecordCopies(self, "Copies", config=config, keys=self.keys, access_logs=self.access_logs)
        self.topics = OperatorTopics(self, "Operators", config=config, key=self.keys.messages)
        for service in ("events.amazonaws.com", "vpce.amazonaws.com"):  # jobs that failed; partners who ask to connect
            self.topics.tickets.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["sns:Publish"],
                    resources=[self.topics.tickets.topic_arn],
                    principals=[iam.ServicePrincipal(service)],
                    conditions={"StringEquals": {"aws:SourceAccount": config.account}},
                )
            )
        self.operators = self.topics.tickets
