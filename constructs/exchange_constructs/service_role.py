"""The identity of one process: every grant it receives lands in one managed policy of its own."""

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct


class ServiceRole(iam.Role):
    """A role whose permissions can be reviewed, versioned and detached as one policy, never written inline."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        service: str = "",
        principal: iam.IPrincipal | None = None,
        description: str,
        name: str | None = None,
    ) -> None:
        """Create a role for `service`, such as ecs-tasks.amazonaws.com, without any permission yet.

        Where no service takes it, `principal` does. Give a `name` only where the ARN must be known before the role
        exists.
        """
        super().__init__(
            scope,
            construct_id,
            role_name=name,
            assumed_by=principal or iam.ServicePrincipal(service),
            description=description,
        )
        self._policy: iam.ManagedPolicy | None = None

    @property
    def policy(self) -> iam.ManagedPolicy:
        """What holds every grant; created with the first one, as an empty policy cannot be deployed."""
        if self._policy is None:
            self._policy = iam.ManagedPolicy(self, "Grants", roles=[self])
        return self._policy

    def add_to_principal_policy(self, statement: iam.PolicyStatement) -> iam.AddToPrincipalPolicyResult:
        """Add `statement` to the managed policy; CDK calls this for every `grant_*`."""
        self.policy.add_statements(statement)
        return iam.AddToPrincipalPolicyResult(statement_added=True, policy_dependable=self.policy)

    def add_to_policy(self, statement: iam.PolicyStatement) -> bool:
        """Add `statement` to the managed policy; older constructs call this one."""
        return self.add_to_principal_policy(statement).statement_added


def grant_decrypt_by(grantee: ServiceRole, service: str, key: kms.IKey) -> None:
    """Let `grantee` use `key` for what `service`, such as s3, opens for it, and never by itself."""
    iam.Grant.add_to_principal(
        grantee=grantee,
        actions=["kms:Decrypt"],
        resource_arns=[key.key_arn],
        conditions={"StringEquals": {"kms:ViaService": f"{service}.{Stack.of(grantee).region}.amazonaws.com"}},
    )
