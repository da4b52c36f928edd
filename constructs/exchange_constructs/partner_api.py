"""One partner outside: the API we call by events, and the secret its webhooks are signed with."""

import json
from collections.abc import Mapping
from typing import Final

from aws_cdk import Duration, RemovalPolicy, SecretValue, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.service_role import ServiceRole

CALLS_PER_S: Final = 10
ROTATION_DAYS: Final = 90
AGE_MAX: Final = Duration.hours(24)
ATTEMPTS_MAX: Final = 20


class PartnerApi(Construct):
    """Functions have no way to the internet: EventBridge calls for them, with a key that no template holds.

    What a partner does not take within a day is left in `undelivered`.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        platform: FunctionPlatform,
        key: kms.IKey,
        url: str,
        rotation: EventFunction,
    ) -> None:
        """Create secret, connection and destination. An operator writes the partner's key into the secret."""
        super().__init__(scope, construct_id)
        self._key = key
        self.secret = secretsmanager.Secret(
            self,
            "Secret",
            description=f"{construct_id}: our key there, and what its webhooks are signed with",
            encryption_key=key,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({"api_key": "to-be-given-by-the-partner"}),
                generate_string_key="webhook_secret",
                exclude_punctuation=True,
                password_length=64,
            ),
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        self._rotate_by(rotation)
        connection = events.Connection(
            self,
            "Connection",
            description=f"{construct_id}: authorized by a key",
            authorization=events.Authorization.api_key(
                "x-api-key", SecretValue.secrets_manager(self.secret.secret_arn, json_field="api_key")
            ),
        )
        authorization = connection.node.find_child("Connection")
        assert isinstance(authorization, events.CfnConnection)
        authorization.kms_key_identifier = key.key_arn  # the construct has no parameter for it
        self._destination = events.ApiDestination(
            self,
            "Api",
            connection=connection,
            endpoint=url,
            http_method=events.HttpMethod.POST,
            rate_limit_per_second=CALLS_PER_S,
            description=f"{construct_id}: {url}",
        )
        self._caller = ServiceRole(
            self, "Caller", service="events.amazonaws.com", description=f"Calls {construct_id} for rules"
        )
        self.undelivered = DeadLetters(
            self, "Undelivered", config=config, key=platform.keys.messages, last=platform.last_letters
        )

    def call_on_event(
        self, name: str, *, bus: events.IEventBus, pattern: events.EventPattern, body: Mapping[str, str]
    ) -> None:
        """Call the API for every event that matches; `body` names the event's fields by the partner's names."""
        fields = {theirs: events.EventField.from_path(f"$.detail.{ours}") for theirs, ours in body.items()}
        events.Rule(self, name, event_bus=bus, event_pattern=pattern).add_target(
            targets.ApiDestination(
                self._destination,
                event=events.RuleTargetInput.from_object(fields),
                event_role=self._caller,
                dead_letter_queue=self.undelivered,
                max_event_age=AGE_MAX,
                retry_attempts=ATTEMPTS_MAX,
            )
        )

    def grant_verify(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` read the secret that webhooks are signed with."""
        iam.Grant.add_to_principal(
            grantee=grantee, actions=["secretsmanager:GetSecretValue"], resource_arns=[self.secret.secret_arn]
        )
        self._key.grant(grantee, "kms:Decrypt")

    def _rotate_by(self, rotation: EventFunction) -> None:
        """Have `rotation` change the webhook secret.

        The L2 would write the function into the policy of our key, in an earlier stack: the grants are given here.
        """
        iam.Grant.add_to_principal(
            grantee=rotation.role,
            actions=[
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            resource_arns=[self.secret.secret_arn],
        )
        self._key.grant(rotation.role, "kms:Decrypt", "kms:GenerateDataKey")
        permission = lambda_.CfnPermission(
            self,
            "MayRotate",
            action="lambda:InvokeFunction",
            function_name=rotation.function.function_arn,
            principal="secretsmanager.amazonaws.com",
            source_account=Stack.of(self).account,
            source_arn=self.secret.secret_arn,
        )
        schedule = secretsmanager.CfnRotationSchedule(
            self,
            "Rotation",
            secret_id=self.secret.secret_arn,
            rotation_lambda_arn=rotation.function.function_arn,
            rotate_immediately_on_update=False,
            rotation_rules=secretsmanager.CfnRotationSchedule.RotationRulesProperty(
                automatically_after_days=ROTATION_DAYS
            ),
        )
        schedule.add_resource_dependency(permission)
