"""Keys that wallets are sealed with: KMS gives them to an accepted enclave and to nobody else, whoever asks."""

import hashlib
from typing import Final

from aws_cdk import RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.custody import PCR_DIGITS, ZERO_PCR
from config.model import Environment

TIERS: Final = ("Hot", "Warm")
"""Cold wallets have no key here: their keys have never been on a machine with a network."""
ATTESTED: Final = ("kms:Decrypt", "kms:GenerateDataKey")
"""What the signer calls. KMS takes an attestation document with them, and not with Encrypt or Sign."""
_IMAGE: Final = "kms:RecipientAttestation:ImageSha384"
"""Another name of PCR0."""
_LOOKED_AFTER: Final = (
    "kms:DescribeKey",
    "kms:EnableKeyRotation",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListGrants",
    "kms:ListKeyPolicies",
    "kms:ListKeyRotations",
    "kms:ListResourceTags",
    "kms:TagResource",
    "kms:UntagResource",
    "kms:UpdateKeyDescription",
)
GUARDED: Final = (
    "kms:CancelKeyDeletion",
    "kms:DisableKey",
    "kms:DisableKeyRotation",
    "kms:EnableKey",
    "kms:PutKeyPolicy",
    "kms:ScheduleKeyDeletion",
)
"""What could make a key useless, or useful to others."""
_NEVER: Final = ("kms:CreateGrant", "kms:ReEncryptFrom", "kms:ReEncryptTo")
"""Ways to use a key that carry no attestation document."""
_TAKES_A_DOCUMENT: Final = (*ATTESTED, "kms:DeriveSharedSecret", "kms:GenerateDataKeyPair")
PURPOSE: Final = "wallet-seed"
"""Encryption context of everything that is sealed."""


def pcr3(role_arn: str) -> str:
    """Return PCR3 of an enclave whose parent has this role: a register of zeros, extended by the ARN."""
    return hashlib.sha384(bytes(PCR_DIGITS // 2) + role_arn.encode()).hexdigest()


class WalletKeys(Construct):
    """One key for each tier that is online. IAM has no say: the key's own policy is the only way in.

    That policy has no statement for the account, so an administrator of the account cannot grant the key to anybody.
    It is changed by the break-glass role alone, which therefore also deploys the stack.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, signer: iam.IRole, signer_arn: str
    ) -> None:
        """Create the keys for the role `signer`, whose ARN is `signer_arn` also before it exists."""
        super().__init__(scope, construct_id)
        self._config = config.custody
        self._measured = {
            _IMAGE: [str(image.pcr0) for image in config.custody.images],
            "kms:RecipientAttestation:PCR3": pcr3(signer_arn),
            "kms:RecipientAttestation:PCR8": str(config.custody.signing_certificate_pcr8),
        }
        self.tiers = {
            tier: kms.Key(
                self,
                tier,
                description=f"{config.name}: seeds of {tier.lower()} wallets",
                enable_key_rotation=True,
                policy=self._policy(signer),
                removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
            )
            for tier in TIERS
        }

    def _policy(self, signer: iam.IRole) -> iam.PolicyDocument:
        """Return the policy of one key. In a key policy, * is the key itself."""
        anyone = iam.AnyPrincipal()
        break_glass = str(self._config.break_glass_role)
        return iam.PolicyDocument(
            statements=[
                _statement(
                    "SignerInAcceptedEnclave",
                    ATTESTED,
                    iam.ArnPrincipal(signer.role_arn),
                    {
                        "StringEqualsIgnoreCase": self._measured,
                        "StringEquals": {"kms:EncryptionContext:purpose": PURPOSE},
                    },
                ),
                _statement("LookedAfter", _LOOKED_AFTER, iam.ArnPrincipal(str(self._config.administrator_role))),
                _statement("BreakGlass", (*_LOOKED_AFTER, *GUARDED), iam.ArnPrincipal(break_glass)),
                _statement("NeverInPlain", _TAKES_A_DOCUMENT, anyone, {"Null": {_IMAGE: "true"}}, deny=True),
                _statement(
                    "NeverInDebugMode",
                    _TAKES_A_DOCUMENT,
                    anyone,
                    {"StringEqualsIgnoreCase": {_IMAGE: ZERO_PCR}},
                    deny=True,
                ),
                _statement("NeverByAnotherWay", _NEVER, anyone, deny=True),
                _statement(
                    "GuardedByBreakGlass",
                    GUARDED,
                    anyone,
                    {"ArnNotEquals": {"aws:PrincipalArn": break_glass}},
                    deny=True,
                ),
            ]
        )


def _statement(
    sid: str,
    actions: tuple[str, ...],
    principal: iam.IPrincipal,
    conditions: dict[str, object] | None = None,
    *,
    deny: bool = False,
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        effect=iam.Effect.DENY if deny else iam.Effect.ALLOW,
        actions=list(actions),
        resources=["*"],
        principals=[principal],
        conditions=conditions,
    )
