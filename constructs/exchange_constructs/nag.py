"""How a finding of a rule pack is accepted: on one resource, one finding at a time, for a true reason, until a date."""

from collections.abc import Sequence
from datetime import date
from typing import Final

import cdk_nag
from aws_cdk import Acknowledgment, CfnResource, IPolicyValidationPlugin, Resource, Validations
from constructs import IConstruct

from config.model import ConfigError

AS_OF: Final = date(2026, 11, 25)
"""Day of the last review. Synth compares expiry dates with this day, so it stays a function of the repository."""
LATEST: Final = AS_OF.replace(year=AS_OF.year + 1)
"""No acceptance lasts longer than a year from the review that saw it."""
AWS_SOLUTIONS: Final = "AwsSolutions"
NIST: Final = "NIST.800.53.R5"
PCI: Final = "PCI.DSS.321"
HIPAA: Final = "HIPAA.Security"
SERVERLESS: Final = "Serverless"
OWNERS: Final = ("platform", "security")
REASON_LENGTH_MIN: Final = 40


def accept(resource: IConstruct, *findings: str, reason: str, expires: date, owner: str = "platform") -> None:
    """Accept `findings`, such as `AwsSolutions-IAM5[Resource::*]`, on `resource` and whatever it is made of.

    The prefix puts each acceptance on record in the validation report. Raises ConfigError for a scope wider than one
    resource, a reason shorter than REASON_LENGTH_MIN characters, an unknown owner, a date that has passed or is after
    LATEST.
    """
    if problem := _problem(resource, findings, reason, expires, owner):
        raise ConfigError(f"{resource.node.path}: {problem}")
    record = f"{reason} [owner: {owner}; expires: {expires}]"
    Validations.of(resource).acknowledge(
        *(Acknowledgment(id=_qualified(finding), reason=record) for finding in findings)
    )


def _problem(resource: IConstruct, findings: Sequence[str], reason: str, expires: date, owner: str) -> str:
    if not isinstance(resource, Resource | CfnResource):
        return f"a finding is accepted on one resource, not on a {type(resource).__name__}"
    if len(reason) < REASON_LENGTH_MIN:
        return f"reason must have at least {REASON_LENGTH_MIN} characters, was {reason!r}"
    if owner not in OWNERS:
        return f"owner must be one of {', '.join(OWNERS)}, was {owner!r}"
    if expires <= AS_OF:
        return f"acceptance of {', '.join(findings)} expired on {expires}, reviewed as of {AS_OF}"
    if expires > LATEST:
        return f"expires must be at most {LATEST}, a year after the review of {AS_OF}, was {expires}"
    return ""


def _qualified(finding: str) -> str:
    """Return `finding` with its pack before it, such as AwsSolutions::AwsSolutions-S1."""
    rule = finding.split("[", 1)[0]
    return finding if "::" in rule else f"{rule.rsplit('-', 1)[0]}::{finding}"


def rule_packs(scope: IConstruct) -> tuple[IPolicyValidationPlugin, ...]:
    """Return the packs that every environment passes, for `Validations.of(scope).add_plugins`."""
    return tuple(
        pack(scope, verbose=True)
        for pack in (
            cdk_nag.AwsSolutionsChecks,
            cdk_nag.NIST80053R5Checks,
            cdk_nag.PCIDSS321Checks,
            cdk_nag.HIPAASecurityChecks,
            cdk_nag.ServerlessChecks,
        )
    )
