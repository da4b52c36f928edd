"""What endpoints of AWS services let through, so that nothing leaves a network by them."""

from collections.abc import Iterable

from aws_cdk import aws_iam as iam

from config.model import Environment


def own_accounts_only(account: str, *resources: str, of: Iterable[str] = ()) -> iam.PolicyStatement:
    """Return: callers of `account` alone, to those of `resources` that it owns itself, or an account in `of`."""
    owners = sorted({account, *of})
    return iam.PolicyStatement(
        actions=["*"],
        resources=list(resources),
        principals=[iam.AnyPrincipal()],
        conditions={
            "StringEquals": {
                "aws:PrincipalAccount": account,
                "aws:ResourceAccount": owners if len(owners) > 1 else account,
            }
        },
    )


def fetches_of_hosts(config: Environment, partition: str) -> iam.PolicyStatement:
    """Return: anybody, to fetch from two buckets of AWS, from which layers of images and packages come.

    ECR signs the links to layers itself, and packages of Amazon Linux are asked for without a name.
    """
    return iam.PolicyStatement(
        actions=["s3:GetObject"],
        resources=[
            f"arn:{partition}:s3:::prod-{config.region}-starport-layer-bucket/*",
            f"arn:{partition}:s3:::al2023-repos-{config.region}-de612dc2/*",
        ],
        principals=[iam.AnyPrincipal()],
    )
