"""The supervisor's people: they read, from an account of their own, and only with a second factor."""

from aws_cdk import aws_iam as iam
from constructs import Construct

from exchange_constructs.service_role import ServiceRole


class RegulatorRole(ServiceRole):
    """Taken by people of another account. Everything it is granted is reading, and every call of it is in the trail."""

    def __init__(self, scope: Construct, construct_id: str, *, account: str) -> None:
        """Create the role for `account`, without any permission yet."""
        super().__init__(
            scope,
            construct_id,
            principal=iam.AccountPrincipal(account).with_conditions({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
            description="The supervisor: reads reports and the views made for it",
        )
