"""How the exchange reaches its operators: one topic that wakes somebody, one that waits for the morning."""

from datetime import date

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.nag import accept


class OperatorTopics(Construct):
    """Alarms publish here, each to the topic that its urgency asks for. One pair for each account and region.

    The pager's address and the mailbox of tickets follow them as soon as each confirms its subscription; what SNS gave
    up telling them waits in `undelivered`, and so does what rules could not deliver that leave it there.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey | None = None
    ) -> None:
        """Create the topics under `key`, which must let CloudWatch, EventBridge and SNS use it, or one of their own."""
        super().__init__(scope, construct_id)
        key = key or self._key(config)
        self.pager = sns.Topic(self, "Pager", master_key=key, enforce_ssl=True)
        self.tickets = sns.Topic(self, "Tickets", master_key=key, enforce_ssl=True)
        for topic in (self.pager, self.tickets):
            # TLS alone takes the place of the policy by which an account's alarms may publish.
            topic.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                    conditions=_in_this_account(self),
                )
            )
        self.undelivered = DeadLetters(self, "Undelivered", config=config, key=key, last=None)
        accept(
            self.undelivered,
            "AwsSolutions-SQS3",
            reason="SNS leaves here what it could not tell the operators: no queue stands before this one",
            expires=date(2027, 11, 20),
        )
        self._subscribe("PagerAddress", self.pager, sns.SubscriptionProtocol.HTTPS, config.operations.pager_url)
        self._subscribe("TicketMail", self.tickets, sns.SubscriptionProtocol.EMAIL, config.operations.ticket_email)

    def _subscribe(self, name: str, topic: sns.Topic, protocol: sns.SubscriptionProtocol, endpoint: str) -> None:
        sns.Subscription(
            self, name, topic=topic, protocol=protocol, endpoint=endpoint, dead_letter_queue=self.undelivered
        )

    def _key(self, config: Environment) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            description=f"{config.name}: alarms",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        for service in ("cloudwatch.amazonaws.com", "events.amazonaws.com", "sns.amazonaws.com"):
            key.add_to_resource_policy(
                iam.PolicyStatement(
                    actions=["kms:Decrypt", "kms:GenerateDataKey"],
                    resources=["*"],  # in a key policy: this key
                    principals=[iam.ServicePrincipal(service)],
                    conditions=_in_this_account(self),
                )
            )
        return key


def _in_this_account(scope: Construct) -> dict[str, dict[str, str]]:
    return {"StringEquals": {"aws:SourceAccount": Stack.of(scope).account}}
