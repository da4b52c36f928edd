"""A Fargate task as every one of ours is: Graviton, one container, no root, no capabilities, a disk it cannot write."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Final

from aws_cdk import Duration
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from exchange_constructs.nag import accept
from exchange_constructs.service_role import ServiceRole

TASKS: Final = "ecs-tasks.amazonaws.com"


class ContainerTask(ecs.FargateTaskDefinition):
    """Works as one role and starts as another, which is made beside it; `run` gives it its container."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        name: str,
        cpu_units: int,
        memory_mib: int,
        role: ServiceRole,
        image_pull: iam.IManagedPolicy,
    ) -> None:
        """Create the task of the service `name`, which works as `role`."""
        start_role = ServiceRole(
            scope, "StartRole", service=TASKS, description=f"Pulls the image and opens the logs of {name}"
        )
        start_role.add_managed_policy(image_pull)
        super().__init__(
            scope,
            construct_id,
            cpu=cpu_units,
            memory_limit_mib=memory_mib,
            task_role=role,
            execution_role=start_role,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=ecs.CpuArchitecture.ARM64,
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
        )
        self._name = name

    def run(
        self,
        image_uri: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        port: ecs.PortMapping,
        health_check: ecs.HealthCheck,
        log_group: logs.ILogGroup,
        reason: str,
        stop_timeout: Duration | None = None,
        ulimits: Sequence[ecs.Ulimit] | None = None,
    ) -> None:
        """Have it run `command`. `reason` says why whoever may read task definitions may read its `environment`."""
        linux = ecs.LinuxParameters(self, "Linux", init_process_enabled=True)
        linux.drop_capabilities(ecs.Capability.ALL)
        self.add_container(
            "Process",
            image=ecs.ContainerImage.from_registry(image_uri),
            command=list(command),
            environment=dict(environment),
            port_mappings=[port],
            readonly_root_filesystem=True,
            user="10001:10001",
            linux_parameters=linux,
            ulimits=ulimits,
            stop_timeout=stop_timeout,
            health_check=health_check,
            logging=ecs.LogDrivers.aws_logs(
                stream_prefix=self._name,
                log_group=log_group,
                # A slow log must never stall a process: past the buffer, lines are lost instead.
                mode=ecs.AwsLogDriverMode.NON_BLOCKING,
            ),
        )
        accept(self, "AwsSolutions-ECS2", reason=reason, expires=date(2027, 11, 20))
