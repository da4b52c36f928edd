"""One service on Fargate: its task, its role, its logs, its name in the network and its security group."""

from collections.abc import Mapping
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_servicediscovery as servicediscovery
from constructs import Construct

from config.model import Environment, FargateSize
from exchange_constructs.catalogue_parameter import CatalogueParameter
from exchange_constructs.container_task import TASKS, ContainerTask
from exchange_constructs.private_network import APPLICATION, may_call_aws
from exchange_constructs.process import Process
from exchange_constructs.runtime_code import RuntimeImage
from exchange_constructs.service_cluster import ServiceCluster
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

BUSY_PERCENT: Final = 50
"""Of its CPU, above which a service that scales gets another task: half is left for the minutes until it is there."""


class FargateService(Construct):
    """Runs a process as a non-root user on a read-only disk; a deployment that does not come up is rolled back.

    A service of one task is stopped before its successor starts: its process is a single writer or holds state. Where
    processes hand over to each other by themselves, successors start first: none is stopped before they are healthy.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        size: FargateSize,
        process: Process,
        cluster: ServiceCluster,
        namespace: servicediscovery.INamespace,
        catalogue: CatalogueParameter,
        logs_key: kms.IKey,
        hands_over: bool = False,
        reads_catalogue: bool = True,
        tier: str = APPLICATION,
    ) -> None:
        """Create the service with `size.task_count` tasks; `hands_over` says that old and new may run side by side.

        Its tasks run in subnets of `tier`; EGRESS is for a service that calls hosts outside.
        """
        super().__init__(scope, construct_id)
        self.process = process
        self._task_count = size.task_count
        self.image = RuntimeImage(self, "Image", config=config, service=process.package)
        self.role = ServiceRole(self, "Role", service=TASKS, description=f"What {process.service} may do")
        if reads_catalogue:
            catalogue.grant_read(self.role)
        self.log_group = ServiceLogs(self, "Logs", config=config, key=logs_key)
        group = ec2.SecurityGroup(
            self, "Access", vpc=cluster.vpc, description=f"Tasks of {process.service}", allow_all_outbound=False
        )
        may_call_aws(group)
        task = self._task(size, catalogue.name, cluster.image_pull)
        may_overlap = size.task_count > 1 or hands_over
        self.service = ecs.FargateService(
            self,
            "Service",
            cluster=cluster,
            task_definition=task,
            desired_count=size.task_count,
            min_healthy_percent=100 if hands_over else 100 - 100 // size.task_count,
            max_healthy_percent=200 if may_overlap else 100,
            # ECS spreads tasks over the zones when it starts them, and with this also when a zone has come back.
            availability_zone_rebalancing=ecs.AvailabilityZoneRebalancing.ENABLED
            if may_overlap
            else ecs.AvailabilityZoneRebalancing.DISABLED,
            circuit_breaker=ecs.DeploymentCircuitBreaker(enable=True, rollback=True),
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=tier),
            security_groups=[group],
            assign_public_ip=False,
            enable_ecs_managed_tags=True,
            propagate_tags=ecs.PropagatedTagSource.SERVICE,
            cloud_map_options=ecs.CloudMapOptions(
                name=process.host_name,
                cloud_map_namespace=namespace,
                dns_record_type=servicediscovery.DnsRecordType.A,
                dns_ttl=Duration.seconds(5),
            ),
        )
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(process.port))

    def scale_to(self, task_count_max: int) -> None:
        """Run up to `task_count_max` tasks while they are busy, and never fewer than the service's own number.

        Only for a process that holds nothing. A deployment sets the number back, so it is made in a quiet hour.
        """
        count = self.service.auto_scale_task_count(min_capacity=self._task_count, max_capacity=task_count_max)
        count.scale_on_cpu_utilization(
            "Cpu",
            target_utilization_percent=BUSY_PERCENT,
            scale_out_cooldown=Duration.minutes(1),
            scale_in_cooldown=Duration.minutes(10),
        )

    @property
    def address(self) -> str:
        """host:port by which others in the network reach the service."""
        return self.process.address

    def add_environment(self, variables: Mapping[str, str]) -> None:
        """Add variables of what grants something to the service's role, and so must know the role first."""
        container = self.service.task_definition.default_container
        assert container
        for name, value in variables.items():
            container.add_environment(name, value)

    def _task(self, size: FargateSize, catalogue_parameter: str, image_pull: iam.IManagedPolicy) -> ContainerTask:
        process = self.process
        task = ContainerTask(
            self,
            "Task",
            name=process.service,
            cpu_units=size.cpu_units,
            memory_mib=size.memory_mib,
            role=self.role,
            image_pull=image_pull,
        )
        task.run(
            self.image.image_uri,
            process.command,
            process.variables(catalogue_parameter),
            port=ecs.PortMapping(container_port=process.port, name=process.host_name),
            health_check=ecs.HealthCheck(
                command=["CMD", "python", "-m", "runtime.shared.health", "127.0.0.1", str(process.port)],
                interval=Duration.seconds(10),
                timeout=Duration.seconds(5),
                retries=3,
                start_period=Duration.seconds(60),
            ),
            log_group=self.log_group,
            reason="The variables are names and addresses; the one secret is read by its ARN, by the task's role",
            stop_timeout=Duration.seconds(30),
            ulimits=[ecs.Ulimit(name=ecs.UlimitName.NOFILE, soft_limit=65_536, hard_limit=65_536)],
        )
        return task
