"""What every Lambda function stands on: the network, its libraries, the memory of what was done, the last queue."""

from datetime import date
from typing import Final

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from config.model import Environment
from exchange_constructs.dead_letters import DeadLetters
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.idempotency_table import IdempotencyTable
from exchange_constructs.nag import accept
from exchange_constructs.private_network import PrivateNetwork
from exchange_constructs.runtime_code import function_libraries

PYTHON: Final = lambda_.Runtime.PYTHON_3_14
"""The newest that Lambda has; every pinned library has a wheel for it on Graviton."""
NETWORK_INTERFACES: Final = (
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
)
LOG_DELIVERY: Final = (
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
)


class FunctionPlatform(Construct):
    """Made once, used by the functions of every stack.

    One layer of libraries for all: they share a dozen pinned packages, so there is one list of hashes to review, and
    what a function's own code asset holds is our code alone.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
        last_letters: DeadLetters,
    ) -> None:
        """Create permission, layer and table; `last_letters` is the queue behind all dead letters."""
        super().__init__(scope, construct_id)
        self.keys = keys
        self.vpc = network.vpc
        self.network_access = self._network_access()
        self.workflow_telemetry = self._workflow_telemetry()
        self.idempotency = IdempotencyTable(self, "Idempotency", config=config, key=keys.data)
        self.last_letters = last_letters
        libraries = function_libraries()
        self.libraries: lambda_.ILayerVersion | None = None
        if libraries:
            self.libraries = lambda_.LayerVersion(
                self,
                "Libraries",
                code=libraries,
                compatible_runtimes=[PYTHON],
                compatible_architectures=[lambda_.Architecture.ARM_64],
                description="What the functions import, from hashed wheels",
                # A function of another stack may still name the version before, until that stack is deployed as well.
                removal_policy=RemovalPolicy.RETAIN,
            )

    def _network_access(self) -> iam.ManagedPolicy:
        """Let Lambda, and not the code it runs, join a function to the network; let the function send traces."""
        stack = Stack.of(self)
        policy = iam.ManagedPolicy(
            self,
            "NetworkAccess",
            description="Lambda joins functions to the network; they send traces",
            statements=[
                iam.PolicyStatement(actions=list(NETWORK_INTERFACES), resources=["*"]),
                iam.PolicyStatement(
                    effect=iam.Effect.DENY,
                    actions=list(NETWORK_INTERFACES),
                    resources=["*"],
                    conditions={
                        # Present only when the call comes from within a function.
                        "ArnLike": {
                            "lambda:SourceFunctionArn": stack.format_arn(service="lambda", resource="function:*")
                        }
                    },
                ),
                iam.PolicyStatement(actions=["xray:PutTelemetryRecords", "xray:PutTraceSegments"], resources=["*"]),
            ],
        )
        accept(
            policy,
            "AwsSolutions-IAM5[Resource::*]",
            reason="Lambda asks for these on every interface, traces know no resource; code in a function is denied",
            expires=date(2027, 11, 20),
            owner="security",
        )
        return policy

    def _workflow_telemetry(self) -> iam.ManagedPolicy:
        """Let state machines have their log delivered, and send traces."""
        policy = iam.ManagedPolicy(
            self,
            "WorkflowTelemetry",
            description="State machines write logs and send traces",
            statements=[
                iam.PolicyStatement(
                    actions=[*LOG_DELIVERY, "xray:PutTelemetryRecords", "xray:PutTraceSegments"], resources=["*"]
                )
            ],
        )
        accept(
            policy,
            "AwsSolutions-IAM5[Resource::*]",
            reason="Log delivery and traces know no narrower resource; nothing else is in this policy",
            expires=date(2027, 11, 20),
            owner="security",
        )
        return policy
