"""Telemetry: behind a switch, traces and numbers of services by OpenTelemetry, beside what logs and alarms tell."""

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from config.model import Environment
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.fargate_service import FargateService
from exchange_constructs.private_network import PrivateNetwork, may_call_aws
from exchange_constructs.switch import Switch
from exchange_constructs.telemetry_collector import ADDRESS, PORT, TelemetryCollector
from stacks.base_stack import ExchangeStack
from stacks.engine_stack import EngineStack


class TelemetryStack(ExchangeStack):
    """A collector, and who may send to it. The engine sends nothing: orders are matched beside all this."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
        engine: EngineStack,
    ) -> None:
        """Create what the switch turns on, and the security group, which costs nothing and which others name."""
        super().__init__(scope, construct_id, config=config, description="Traces and numbers by OpenTelemetry")
        self._config = config.monitoring
        group = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description="The collector of telemetry", allow_all_outbound=False
        )
        may_call_aws(group)
        self._connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(PORT))
        collector = TelemetryCollector(
            self,
            "Collector",
            config=config,
            keys=keys,
            network=network,
            cluster=engine.cluster,
            namespace=engine.namespace,
            group=group,
        )
        Switch(self, "Collects", on=config.monitoring.collects).governs(collector)

    def let_send(self, service: FargateService) -> None:
        """Let a service send traces and numbers; while the switch is off it has no address to send to."""
        service.connections.allow_to_default_port(self._connections, "traces and numbers, to the collector")
        service.add_environment(
            {
                "OTLP_ADDRESS": ADDRESS if self._config.collects else "",
                "TRACE_ONE_IN": str(self._config.trace_one_in),
            }
        )
