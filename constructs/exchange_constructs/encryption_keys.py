"""The customer keys of one environment, split by who may use them and what a lost key would cost."""

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment


class EncryptionKeys(Construct):
    """Four keys, rotated yearly: stored data, customers' API secrets, logs, and messages between services."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Create the keys; a key that is ever deleted takes its data with it, so deletion always waits 30 days."""
        super().__init__(scope, construct_id)
        removal_policy = RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY
        stack = Stack.of(self)

        def key(name: str, description: str) -> kms.Key:
            return kms.Key(
                self,
                name,
                description=f"{config.name}: {description}",
                enable_key_rotation=True,
                removal_policy=removal_policy,
            )

        self.data = key("Data", "database, tables, streams, buckets, disks, journal")
        self.api_secrets = key("ApiSecrets", "secrets of customers' API keys")
        self.logs = key("Logs", "log groups")
        self.messages = key("Messages", "event bus, queues, topics")

        logs_arn = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:*"
        self.logs.add_to_resource_policy(
            _use(
                iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com"),
                {"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs_arn}},
            )
        )
        for service in ("events.amazonaws.com", "cloudwatch.amazonaws.com"):
            self.messages.add_to_resource_policy(
                _use(iam.ServicePrincipal(service), {"StringEquals": {"aws:SourceAccount": stack.account}})
            )
        # Auto Scaling starts instances with disks under the data key and tells operators by an encrypted topic. Its
        # service-linked role may not exist yet in a new account, and a policy that names a missing role is refused:
        # so the role stands in a condition.
        role = (
            f"arn:{stack.partition}:iam::{stack.account}:role/aws-service-role/autoscaling.amazonaws.com/"
            "AWSServiceRoleForAutoScaling"
        )
        as_auto_scaling = {"StringEquals": {"aws:PrincipalArn": role, "kms:CallerAccount": stack.account}}
        for used in (self.data, self.messages):
            used.add_to_resource_policy(_use(iam.AnyPrincipal(), as_auto_scaling))
        self.data.add_to_resource_policy(
            iam.PolicyStatement(
                actions=["kms:CreateGrant"],
                resources=["*"],
                principals=[iam.AnyPrincipal()],
                conditions={**as_auto_scaling, "Bool": {"kms:GrantIsForAWSResource": "true"}},
            )
        )


def _use(principal: iam.IPrincipal, conditions: dict[str, dict[str, str]]) -> iam.PolicyStatement:
    """Let `principal` encrypt and decrypt under `conditions`. In a key policy, * is the key itself."""
    return iam.PolicyStatement(
        actions=["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"],
        resources=["*"],
        principals=[principal],
        conditions=conditions,
    )
