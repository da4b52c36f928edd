"""The WebSocket gateway: Graviton instances that hold client connections, one process each."""

from typing import Final, cast

from aws_cdk import Duration
from aws_cdk import aws_autoscaling as autoscaling
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_elasticloadbalancingv2 as elb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.model import Environment
from exchange_constructs.catalogue_parameter import CatalogueParameter
from exchange_constructs.host_template import HostTemplate
from exchange_constructs.instance.leave_group import HOOK
from exchange_constructs.instance_service import boot_script
from exchange_constructs.private_network import APPLICATION, may_call_aws
from exchange_constructs.process import Process
from exchange_constructs.runtime_code import RuntimeImage
from exchange_constructs.service_logs import ServiceLogs
from exchange_constructs.service_role import ServiceRole

MetricQuery = autoscaling.CfnScalingPolicy.TargetTrackingMetricDataQueryProperty
BOOT_MINUTES: Final = 5
LEAVE_MINUTES: Final = 5
"""How long the group waits for a host that says goodbye to its clients: half a minute for the balancers, one to end."""
CONNECTIONS_AIM: Final = 12_000
"""For each instance; a process refuses those past its `connections_max`, and a new instance takes BOOT_MINUTES."""


class WebSocketFleet(Construct):
    """Instances without keys, without a way in but the load balancer, replaced whole and never repaired."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        process: Process,
        vpc: ec2.IVpc,
        catalogue: CatalogueParameter,
        image_pull: iam.IManagedPolicy,
        disk_key: kms.IKey,
        logs_key: kms.IKey,
        operators: sns.ITopic,
    ) -> None:
        """Create the launch template and the group; operators hear of every instance that comes or goes."""
        super().__init__(scope, construct_id)
        image = RuntimeImage(self, "Image", config=config, service=process.package)
        self.log_group = log_group = ServiceLogs(self, "Logs", config=config, key=logs_key)
        self.role = ServiceRole(
            self, "Role", service="ec2.amazonaws.com", description=f"What {process.service} instances may do"
        )
        catalogue.grant_read(self.role)
        self.role.add_managed_policy(image_pull)
        log_group.grant_write(self.role)
        group = ec2.SecurityGroup(
            self, "Access", vpc=vpc, description=f"Instances of {process.service}", allow_all_outbound=False
        )
        may_call_aws(group)
        self.connections = ec2.Connections(security_groups=[group], default_port=ec2.Port.tcp(process.port))
        template = HostTemplate(
            self,
            "Template",
            instance_type=config.websocket.instance_type,
            machine_image=ec2.MachineImage.latest_amazon_linux2023(cpu_type=ec2.AmazonLinuxCpuType.ARM_64),
            role=self.role,
            security_group=group,
            disk_key=disk_key,
            tags_in_metadata=True,
            user_data=boot_script(
                self,
                process=process,
                # Fargate tells a process its region; on an instance nobody does. This is the one name that boto3 reads.
                variables={**process.variables(catalogue.name), "AWS_DEFAULT_REGION": config.region},
                image=image.image_uri,
                log_group=log_group.log_group_name,
            ),
        )
        self.group = autoscaling.AutoScalingGroup(
            self,
            "Group",
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            launch_template=template,
            min_capacity=config.websocket.instance_count_min,
            max_capacity=config.websocket.instance_count_max,
            default_instance_warmup=Duration.minutes(BOOT_MINUTES),
            health_checks=autoscaling.HealthChecks.with_additional_checks(
                additional_types=[autoscaling.AdditionalHealthCheckType.ELB],
                grace_period=Duration.minutes(BOOT_MINUTES),
            ),
            max_instance_lifetime=Duration.days(30),
            group_metrics=[autoscaling.GroupMetrics(autoscaling.GroupMetric.IN_SERVICE_INSTANCES)],
            notifications=[autoscaling.NotificationConfiguration(topic=operators)],
            update_policy=autoscaling.UpdatePolicy.rolling_update(
                max_batch_size=1,
                min_instances_in_service=config.websocket.instance_count_min,
                pause_time=Duration.minutes(BOOT_MINUTES),
            ),
        )
        self.group.scale_on_cpu_utilization("Cpu", target_utilization_percent=50)
        self._let_drain()

    def _let_drain(self) -> None:
        """Hold a host that is to end until it has told so its clients, or LEAVE_MINUTES have passed.

        There is no hook for the start: a balancer sends clients to a host once its process answers, and the group
        replaces one whose process never does.
        """
        self.group.add_lifecycle_hook(
            "Drain",
            # The host says it by name, and only within its own group is that name known.
            lifecycle_hook_name=HOOK,
            lifecycle_transition=autoscaling.LifecycleTransition.INSTANCE_TERMINATING,
            heartbeat_timeout=Duration.minutes(LEAVE_MINUTES),
            default_result=autoscaling.DefaultResult.CONTINUE,
        )
        group = cast(autoscaling.CfnAutoScalingGroup, self.group.node.default_child)
        # A policy of its own: it knows the group, and the group's first host needs the role's other grants before.
        iam.ManagedPolicy(
            self,
            "Leave",
            roles=[self.role],
            statements=[
                iam.PolicyStatement(
                    actions=["autoscaling:CompleteLifecycleAction"], resources=[group.attr_auto_scaling_group_arn]
                )
            ],
        )

    def scale_on_connections(self, balancer: elb.NetworkLoadBalancer) -> None:
        """Add instances before connections fill them, as silent subscribers cost memory and next to no CPU."""
        name = self.group.auto_scaling_group_name

        def measured(id_: str, namespace: str, metric: str, dimension: tuple[str, str]) -> MetricQuery:
            return MetricQuery(
                id=id_,
                return_data=False,
                metric_stat=autoscaling.CfnScalingPolicy.TargetTrackingMetricStatProperty(
                    metric=autoscaling.CfnScalingPolicy.MetricProperty(
                        namespace=namespace,
                        metric_name=metric,
                        dimensions=[
                            autoscaling.CfnScalingPolicy.MetricDimensionProperty(name=dimension[0], value=dimension[1])
                        ],
                    ),
                    stat="Average",
                ),
            )

        autoscaling.CfnScalingPolicy(
            self,
            "Connections",
            auto_scaling_group_name=name,
            policy_type="TargetTrackingScaling",
            target_tracking_configuration=autoscaling.CfnScalingPolicy.TargetTrackingConfigurationProperty(
                target_value=CONNECTIONS_AIM,
                customized_metric_specification=autoscaling.CfnScalingPolicy.CustomizedMetricSpecificationProperty(
                    metrics=[
                        measured(
                            "connections",
                            "AWS/NetworkELB",
                            "ActiveFlowCount_TLS",
                            ("LoadBalancer", balancer.load_balancer_full_name),
                        ),
                        measured(
                            "instances", "AWS/AutoScaling", "GroupInServiceInstances", ("AutoScalingGroupName", name)
                        ),
                        MetricQuery(id="each", expression="connections / instances", return_data=True),
                    ]
                ),
            ),
        )
