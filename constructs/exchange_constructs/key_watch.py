"""Tells operators, within a minute or two, of what only a bad day brings to a wallet key."""

from typing import Any, Final

from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from exchange_constructs.trail_rule import TrailRule, let_rules_publish
from exchange_constructs.wallet_keys import ATTESTED, GUARDED, WalletKeys

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
        """Watch `keys`, whose use is expected of the role called `signer_name` alone."""
        super().__init__(scope, construct_id)
        let_rules_publish(operators)
        arns = [key.key_arn for key in keys.tiers.values()]
        other = {"sessionContext": {"sessionIssuer": {"userName": [{"anything-but": [signer_name]}]}}}
        used = _of_keys(_USES, arns)
        for name, description, detail in (
            ("Changed", "A wallet key was changed, or somebody tried", _of_keys(_CHANGES, arns)),
            ("UsedByOther", "Somebody else than the signer used a wallet key", {**used, "userIdentity": other}),
            ("Refused", "A use of a wallet key was refused", {**used, "errorCode": [{"exists": True}]}),
        ):
            TrailRule(self, name, description=description, detail=detail, operators=operators, undelivered=undelivered)


def _of_keys(actions: tuple[str, ...], key_arns: list[str]) -> dict[str, Any]:
    return {
        "eventSource": ["kms.amazonaws.com"],
        "eventName": [action.removeprefix("kms:") for action in actions],
        "resources": {"ARN": key_arns},
    }
