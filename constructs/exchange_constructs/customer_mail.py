"""Mail to customers: our own domain, signed, over TLS, and not again to who cannot be reached or does not want it."""

from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_cognito as cognito
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_ses as ses
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.event_function import EVENT_AGE_MAX, EVENT_ATTEMPTS_MAX
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.private_queue import PrivateQueue

SENDER: Final = "no-reply"
SIGNED_ONLY: Final = "v=DMARC1; p=reject; adkim=s; aspf=s"
"""What receivers are asked to do with mail in our name that we did not sign: refuse it."""
TROUBLES: Final = (
    ses.EmailSendingEvent.BOUNCE,
    ses.EmailSendingEvent.COMPLAINT,
    ses.EmailSendingEvent.REJECT,
    ses.EmailSendingEvent.RENDERING_FAILURE,
)


class CustomerMail(Construct):
    """The identity of the mail domain and how mail in its name is sent.

    What did not arrive waits in `troubles`, with the customer's address, for whoever looks after customers.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, platform: FunctionPlatform) -> None:
        """Create identity and set, enter what proves the domain into its zone, and keep what went wrong."""
        super().__init__(scope, construct_id)
        self._config = config
        self._set = ses.ConfigurationSet(
            self,
            "Set",
            configuration_set_name=f"bursa-{config.name}-customers",
            tls_policy=ses.ConfigurationSetTlsPolicy.REQUIRE,
            suppression_reasons=ses.SuppressionReasons.BOUNCES_AND_COMPLAINTS,
            reputation_metrics=True,
        )
        identity = ses.EmailIdentity(
            self,
            "Identity",
            identity=ses.Identity.domain(config.mail_domain),
            configuration_set=self._set,
        )
        for number, key in enumerate(identity.dkim_records, start=1):
            self._enter(f"Dkim{number}", key.name, "CNAME", key.value)
        self._enter("Dmarc", f"_dmarc.{config.mail_domain}", "TXT", f'"{SIGNED_ONLY}"')
        self.troubles = self._keep_troubles(platform)

    @property
    def sender(self) -> cognito.UserPoolEmail | None:
        """How a user pool mails in our name; None until SES has seen the records, before which such a pool fails."""
        if not self._config.mail_verified:
            return None
        return cognito.UserPoolEmail.with_ses(
            from_email=f"{SENDER}@{self._config.mail_domain}",
            from_name="Bursa",
            ses_verified_domain=self._config.mail_domain,
            ses_region=self._config.region,
            configuration_set_name=self._set.configuration_set_name,
        )

    def _enter(self, name: str, record: str, kind: str, value: str) -> None:
        route53.CfnRecordSet(
            self,
            name,
            hosted_zone_id=self._config.hosted_zone_id,
            name=record,
            type=kind,
            ttl="1800",
            resource_records=[value],
        )

    def _keep_troubles(self, platform: FunctionPlatform) -> sqs.Queue:
        """Return the queue of what SES told about mail that did not arrive. SES knows the default bus only."""
        key = platform.keys.messages
        letters = DeadLetters(self, "Unread", config=self._config, key=key, last=platform.last_letters)
        queue = PrivateQueue(self, "Troubles", config=self._config, key=key, dead_letters=letters)
        self._set.add_event_destination(
            "Told",
            destination=ses.EventDestination.event_bus(events.EventBus.from_event_bus_name(self, "Bus", "default")),
            events=list(TROUBLES),
        )
        rule = events.Rule(
            self,
            "NotArrived",
            description="Mail that did not arrive or was not wanted",
            event_pattern=events.EventPattern(
                source=["aws.ses"],
                detail={"mail": {"tags": {"ses:configuration-set": [self._set.configuration_set_name]}}},
            ),
        )
        # By its ARN: CDK would otherwise open the key to the bus without a condition; here the queue is opened by hand.
        arn = Stack.of(self).format_arn(service="sqs", resource=queue.queue_name)
        target = sqs.Queue.from_queue_arn(self, "Target", arn)
        rule.add_target(
            targets.SqsQueue(
                target, dead_letter_queue=letters, max_event_age=EVENT_AGE_MAX, retry_attempts=EVENT_ATTEMPTS_MAX
            )
        )
        queue.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[queue.queue_arn],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                conditions={"ArnEquals": {"aws:SourceArn": rule.rule_arn}},
            )
        )
        return queue
