"""What an operator takes for one duty: from our own account, and only with a second factor."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from exchange_constructs.service_role import ServiceRole


class OperatorRole(ServiceRole):
    """Taken by people whom the account lets take it. It may do what it is granted, and every call is in the trail."""

    def __init__(self, scope: Construct, construct_id: str, *, description: str) -> None:
        """Create the role, without any permission yet."""
        account = Stack.of(scope).account
        super().__init__(
            scope,
            construct_id,
            principal=iam.AccountPrincipal(account).with_conditions({"Bool": {"aws:MultiFactorAuthPresent": "true"}}),
            description=description,
        )
