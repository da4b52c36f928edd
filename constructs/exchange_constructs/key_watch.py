"""Tells operators, within a minute or two, of everything done to a wallet key that only a bad day brings."""

from collections.abc import Mapping
from typing import Any, Final

from aws_cdk import Stack
from aws_cdk import aws_events as events
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
        self._operators = operators
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
        # The library's own rule knows no state for reads, and its target would open the topic's key to every rule.
        rule = events.CfnRule(
            self,
            name,
            description=description,
            event_pattern={"detail-type": [_TRAIL], "detail": pattern},
            state="ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS",
            targets=[
                events.CfnRule.TargetProperty(
                    id="Operators",
                    arn=self._operators.topic_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self._undelivered.queue_arn),
                    retry_policy=events.CfnRule.RetryPolicyProperty(
                        maximum_retry_attempts=10, maximum_event_age_in_seconds=3600
                    ),
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={
                            "action": "$.detail.eventName",
                            "by": "$.detail.userIdentity.arn",
                            "at": "$.detail.eventTime",
                        },
                        input_template=f'"{description}: <action> by <by> at <at>."',
                    ),
                )
            ],
        )
        self._undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["sqs:SendMessage"],
                resources=[self._undelivered.queue_arn],
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                conditions={"ArnEquals": {"aws:SourceArn": rule.attr_arn}},
            )
        )
