"""Where the services on Fargate run."""

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_kms as kms
from constructs import Construct

from config.model import Environment
from exchange_constructs.runtime_code import ImagePull


class ServiceCluster(ecs.Cluster):
    """A cluster, watched task by task, disks of tasks under our key, and the permission to pull what runs in it."""

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, vpc: ec2.IVpc, key: kms.IKey
    ) -> None:
        """Create both."""
        super().__init__(scope, construct_id, vpc=vpc, container_insights_v2=ecs.ContainerInsights.ENHANCED)
        cluster = self.node.default_child
        assert isinstance(cluster, ecs.CfnCluster)
        # Here, as CDK's parameter would name the cluster in the policy of a key that lies in an earlier stack.
        cluster.configuration = ecs.CfnCluster.ClusterConfigurationProperty(
            managed_storage_configuration=ecs.CfnCluster.ManagedStorageConfigurationProperty(
                fargate_ephemeral_storage_kms_key_id=key.key_arn
            )
        )
        self.image_pull = ImagePull(self, "ImagePull", config=config)
