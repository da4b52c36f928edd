"""Tells operators, within a minute or two, of what only a bad day brings to a wallet key, or by break-glass."""

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
    """Rules on what CloudTrail sees of the keys and of the break-glass role; each tells the operators' topic.

    STS writes that a role is assumed where it was asked: in this region by its regional endpoint, in us-east-1 by the
    global one, whose events no rule here sees. What was assumed there is told with the first call it makes here, and so
    is each call after it; those that CloudFormation makes as the role in a deployment are not told one by one.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        keys: WalletKeys,
        signer_name: str,
        break_glass_role: str,
        operators: sns.ITopic,
        undelivered: sqs.IQueue,
    ) -> None:
        """Watch `keys`, whose use is expected of the role called `signer_name` alone, and every use of the other role.

        `break_glass_role` is an ARN.
        """
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
        self._tell("Changed", "A wallet key was changed, or somebody tried", _of_keys(_CHANGES, arns))
        used = _of_keys(_USES, arns)
        self._tell("UsedByOther", "Somebody else than the signer used a wallet key", {**used, "userIdentity": other})
        self._tell("Refused", "A use of a wallet key was refused", {**used, "errorCode": [{"exists": True}]})
        assumed = {
            "eventSource": ["sts.amazonaws.com"],
            "eventName": [{"prefix": "AssumeRole"}],  # also with SAML, as people come, or with another's token
            "requestParameters": {"roleArn": [break_glass_role]},
        }
        self._tell("Assumed", "The break-glass role was assumed, or somebody tried", assumed)
        acting = {
            "userIdentity": {
                "sessionContext": {"sessionIssuer": {"arn": [break_glass_role]}},
                "invokedBy": [{"exists": False}],
            }
        }
        self._tell("Acting", "The break-glass role is at work", acting)

    def _tell(self, name: str, description: str, pattern: Mapping[str, Any]) -> None:
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


def _of_keys(actions: tuple[str, ...], key_arns: list[str]) -> dict[str, Any]:
    return {
        "eventSource": ["kms.amazonaws.com"],
        "eventName": [action.removeprefix("kms:") for action in actions],
        "resources": {"ARN": key_arns},
    }
