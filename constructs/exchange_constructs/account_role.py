"""What an account takes for one duty: its people with a second factor, its machines with an id that only they send."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import Construct

from exchange_constructs.service_role import ServiceRole


class AccountRole(ServiceRole):
    """Taken by whom the account lets take it. It may do what it is granted, and every call is in the trail."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        description: str,
        account: str | None = None,
        external_id: str | None = None,
    ) -> None:
        """Create the role for `account`, or for our own, without any permission yet.

        With an `external_id` it is for machines, which send that along; else for people, who need a second factor.
        """
        condition: dict[str, dict[str, str]] = (
            {"StringEquals": {"sts:ExternalId": external_id}}
            if external_id
            else {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
        )
        super().__init__(
            scope,
            construct_id,
            principal=iam.AccountPrincipal(account or Stack.of(scope).account).with_conditions(condition),
            description=description,
        )
