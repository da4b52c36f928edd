"""Where the services on Fargate run."""

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from constructs import Construct

from config.model import Environment
from exchange_constructs.runtime_code import ImagePull


class ServiceCluster(ecs.Cluster):
    """A cluster, watched task by task, and the permission to pull what runs in it."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, vpc: ec2.IVpc) -> None:
        """Create both."""
        super().__init__(scope, construct_id, vpc=vpc, container_insights_v2=ecs.ContainerInsights.ENHANCED)
        self.image_pull = ImagePull(self, "ImagePull", config=config)
