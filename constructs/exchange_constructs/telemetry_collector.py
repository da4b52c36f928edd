"""An OpenTelemetry collector: what services tell of their requests and of themselves, for X-Ray and Prometheus."""

from datetime import date
from pathlib import Path
from typing import Any, Final

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_aps as aps
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_servicediscovery as servicediscovery
from constructs import Construct

from config.model import Environment
from exchange_constructs.container_task import TASKS, ContainerTask
from exchange_constructs.encryption_keys import EncryptionKeys
from exchange_constructs.nag import accept
from exchange_constructs.private_network import APPLICATION, PrivateNetwork
from exchange_constructs.process import NAMESPACE
from exchange_constructs.service_cluster import ServiceCluster
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

PORT: Final = 4318
HEALTH_PORT: Final = 13133
NAME: Final = "collector"
ADDRESS: Final = f"{NAME}.{NAMESPACE}:{PORT}"
CONFIGURATION: Final = "COLLECTOR_CONFIG"
_FOLDER: Final = Path(__file__).resolve().parent / "collector"


class PrometheusWorkspace(Construct):
    """Where the numbers lie, under our key, and the way to it from inside the network."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
    ) -> None:
        """Create workspace, its log, and an endpoint; what it takes must be signed by a role that may write."""
        super().__init__(scope, construct_id)
        log_group = ServiceLogs(
            self,
            "Logs",
            config=config,
            key=keys.logs,
            # Under this prefix log delivery may write by AWS's own policy.
            name=f"/aws/vendedlogs/prometheus/bursa-{config.name}",
        )
        self.workspace = aps.CfnWorkspace(
            self,
            "Workspace",
            alias=f"bursa-{config.name}",
            kms_key_arn=keys.data.key_arn,
            logging_configuration=aps.CfnWorkspace.LoggingConfigurationProperty(log_group_arn=log_group.log_group_arn),
        )
        self.workspace.apply_removal_policy(RemovalPolicy.RETAIN if config.retained else RemovalPolicy.DESTROY)
        access = ec2.SecurityGroup(
            self,
            "EndpointAccess",
            vpc=network.vpc,
            description="Endpoint of Managed Prometheus, for this network only",
            allow_all_outbound=False,
        )
        access.add_ingress_rule(network.inside, ec2.Port.tcp(443), "numbers of services, from inside the network")
        ec2.InterfaceVpcEndpoint(
            self,
            "Endpoint",
            vpc=network.vpc,
            service=ec2.InterfaceVpcEndpointAwsService.PROMETHEUS_WORKSPACES,
            subnets=ec2.SubnetSelection(
                subnet_group_name=APPLICATION,
                availability_zones=network.vpc.availability_zones[: config.network.endpoint_zone_count],
            ),
            security_groups=[access],
            open=False,
        )


class TelemetryCollector(Construct):
    """One task. While it is gone, traces and numbers of that time are lost, and nothing else is."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        keys: EncryptionKeys,
        network: PrivateNetwork,
        cluster: ServiceCluster,
        namespace: servicediscovery.INamespace,
        group: ec2.ISecurityGroup,
    ) -> None:
        """Create workspace and service; the task is in the security group `group`."""
        super().__init__(scope, construct_id)
        prometheus = PrometheusWorkspace(self, "Prometheus", config=config, keys=keys, network=network).workspace
        role = ServiceRole(self, "Role", service=TASKS, description="What the collector of telemetry may do")
        role.add_to_principal_policy(iam.PolicyStatement(actions=["aps:RemoteWrite"], resources=[prometheus.attr_arn]))
        role.add_to_principal_policy(
            iam.PolicyStatement(actions=["xray:PutTelemetryRecords", "xray:PutTraceSegments"], resources=["*"])
        )
        accept(
            role.policy,
            "AwsSolutions-IAM5[Resource::*]",
            reason="AWS knows no resource for traces; the numbers are written to one workspace by its ARN",
            expires=date(2027, 11, 20),
            owner="security",
        )
        image = ecr_assets.DockerImageAsset(
            self,
            "Image",
            directory=str(_FOLDER),
            file="Dockerfile",
            build_args={"BASE": str(config.images.collector)},
            platform=ecr_assets.Platform.LINUX_ARM64,
            asset_name="bursa-collector",
        )
        task = ContainerTask(
            self, "Task", name=NAME, cpu_units=256, memory_mib=512, role=role, image_pull=cluster.image_pull
        )
        settings = collector_configuration(config.region, prometheus.attr_prometheus_endpoint)
        task.run(
            image.image_uri,
            [f"--config=env:{CONFIGURATION}"],
            {CONFIGURATION: Stack.of(self).to_json_string(settings)},
            port=ecs.PortMapping(container_port=PORT, name=NAME),
            health_check=ecs.HealthCheck(command=["CMD", "/healthcheck"]),
            log_group=ServiceLogs(self, "Logs", config=config, key=keys.logs),
            reason="The one variable is the collector's configuration, which names a region and an address",
        )
        ecs.FargateService(
            self,
            "Service",
            cluster=cluster,
            task_definition=task,
            desired_count=1,
            min_healthy_percent=100,
            max_healthy_percent=200,
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            security_groups=[group],
            assign_public_ip=False,
            enable_ecs_managed_tags=True,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            cloud_map_options=ecs.CloudMapOptions(
                name=NAME, cloud_map_namespace=namespace, dns_record_type=servicediscovery.DnsRecordType.A
            ),
        )


def collector_configuration(region: str, workspace_url: str) -> dict[str, Any]:
    """Return what the collector does: OTLP in over HTTP, traces out to X-Ray, numbers to the workspace, signed."""
    return {
        "extensions": {
            "health_check": {"endpoint": f"127.0.0.1:{HEALTH_PORT}"},
            "sigv4auth": {"region": region, "service": "aps"},
        },
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"0.0.0.0:{PORT}"}}}},
        "processors": {
            "memory_limiter": {"check_interval": "1s", "limit_percentage": 75, "spike_limit_percentage": 20},
            "batch": {"timeout": "5s"},
        },
        "exporters": {
            "awsxray": {"region": region},
            "prometheusremotewrite": {
                "endpoint": f"{workspace_url}api/v1/remote_write",
                "auth": {"authenticator": "sigv4auth"},
                "resource_to_telemetry_conversion": {"enabled": True},
            },
        },
        "service": {
            "extensions": ["health_check", "sigv4auth"],
            "pipelines": {
                "traces": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "batch"],
                    "exporters": ["awsxray"],
                },
                "metrics": {
                    "receivers": ["otlp"],
                    "processors": ["memory_limiter", "batch"],
                    "exporters": ["prometheusremotewrite"],
                },
            },
        },
    }
