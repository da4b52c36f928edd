"""Tells operators, within a minute or two, of everything done to a wallet key that only a bad day brings."""

from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from exchange_constructs.wallet_keys import ATTESTED, GUARDED, WalletKeys

_TRAIL: Final = "AWS API Call via CloudTrail"
_USES: Final = (*ATTESTED, "kms:DeriveSharedSecret", "kms:Encrypt", "kms:GenerateDataKeyPair", "kms:ReEncrypt")
_CHANGES: Final = (*GUARDED, "kms:CreateGrant", "kms:ImportKeyMaterial", "kms:RevokeGrant", "kms:UpdatePrimaryRegion")


class KeyWatch(Construct):
    """Rules on what CloudTrail sees of the keys; each tells the operators' topic."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        keys: WalletKeys,
        signer_name: str,
        operators: sns.ITopic,
        undelivered: sqs.IQueue,
    ) -> None:
        """Watch `keys`; the role called `signer_name` is the only one whose use of them is expected."""
        super().__init__(scope, construct_id)
        # By its ARN alone: CDK would otherwise open the topic's key to every rule of every account.
        self._operators = sns.Topic.from_topic_arn(self, "Topic", operators.topic_arn)
        operators.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sns:Publish"],
                resources=[operators.topic_arn],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        self._undelivered = undelivered
        arns = [key.key_arn for key in keys.tiers.values()]
        other = {"sessionContext": {"sessionIssuer": {"userName": [{"anything-but": [signer_name]}]}}}
        self._tell("Changed", "A wallet key was changed, or somebody tried", _CHANGES, arns)
        self._tell("UsedByOther", "Somebody else than the signer used a wallet key", _USES, arns, userIdentity=other)
        self._tell("Refused", "A use of a wallet key was refused", _USES, arns, errorCode=[{"exists": True}])

    def _tell(
        self,
        name: str,
        description: str,
        actions: tuple[str, ...],
        key_arns: list[str],
        **detail: Any,  # noqa: ANN401
    ) -> None:
        pattern: Mapping[str, Any] = {
            "eventSource": ["kms.amazonaws.com"],
            "eventName": [action.removeprefix("kms:") for action in actions],
            "resources": {"ARN": key_arns},
            **detail,
        }
        rule = events.Rule(
            self, name, description=description, event_pattern=events.EventPattern(detail_type=[_TRAIL], detail=pattern)
        )
        # Decrypt only reads, and reads reach a rule in this state alone.
        resource = rule.node.default_child
        assert isinstance(resource, events.CfnRule)
        resource.state = "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
        rule.add_target(
            targets.SnsTopic(
                self._operators,
                message=events.RuleTargetInput.from_multiline_text(
                    f"{description}.\n"
                    f"{events.EventField.from_path('$.detail.eventName')} by "
                    f"{events.EventField.from_path('$.detail.userIdentity.arn')} at "
                    f"{events.EventField.from_path('$.detail.eventTime')}"
                ),
                dead_letter_queue=self._undelivered,
                retry_attempts=10,
                max_event_age=Duration.hours(1),
            )
        )
