"""The canary: a real order every minute, by the way that customers come."""

from aws_cdk import CfnOutput, Duration, RemovalPolicy
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from config.model import Environment
from exchange_constructs.event_function import EventFunction
from exchange_constructs.function_platform import FunctionPlatform
from exchange_constructs.log_metric import CANARY_FAILED, CANARY_SLOW, LogMetrics
from exchange_constructs.tiers import EGRESS
from stacks.base_stack import ExchangeStack


class CanaryStack(ExchangeStack):
    """A function in the tier with the one way out, which leads to our own public name.

    It signs with a key that never leaves KMS, so that no template and no store holds a secret of it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, platform: FunctionPlatform) -> None:
        """Create key, function and metrics. An operator registers the public key and enters the API key's name."""
        super().__init__(scope, construct_id, config=config, description="Canary: one order each minute")
        self.key = kms.Key(
            self,
            "Key",
            description=f"{config.name}: signs the canary's requests",
            # The exchange verifies RSA keys of customers, and this is the kind of them that KMS has longest.
            key_spec=kms.KeySpec.RSA_2048,
            key_usage=kms.KeyUsage.SIGN_VERIFY,
            removal_policy=RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY,
        )
        api_key = ssm.StringParameter(
            self,
            "ApiKey",
            description="API key of the canary's account, which may trade and nothing else; entered by an operator",
            string_value="to-be-entered",
        )
        url = f"https://{config.api_name}:443"
        self.canary = EventFunction(
            self,
            "Canary",
            config=config,
            platform=platform,
            service="canary",
            description="Places and cancels an order as a customer would",
            environment={
                "EXCHANGE_URL": url,
                "SYMBOL": config.canary_symbol,
                "SIGNING_KEY": self.key.key_arn,
                "API_KEY_PARAMETER": api_key.parameter_name,
            },
            timeout=Duration.seconds(50),
            concurrency=1,
            tier=EGRESS,
        )
        self.key.grant(self.canary.role, "kms:Sign")
        iam.Grant.add_to_principal(
            grantee=self.canary.role, actions=["ssm:GetParameter"], resource_arns=[api_key.parameter_arn]
        )
        self.canary.on_schedule(
            "EveryMinute", schedule=events.Schedule.rate(Duration.minutes(1)), description="A walk of the canary"
        )
        LogMetrics(self, "Metrics", log_group=self.canary.log_group, metrics=(CANARY_FAILED, CANARY_SLOW))
        CfnOutput(self, "CanaryUrl", value=url)
        CfnOutput(self, "CanaryKey", value=self.key.key_id)
        CfnOutput(self, "CanaryApiKeyParameter", value=api_key.parameter_name)
