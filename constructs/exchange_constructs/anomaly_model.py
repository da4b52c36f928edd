"""SageMaker: a model of what is usual in trading is trained, registered, approved by a person, and served.

The container runs `runtime/anomaly`, the code that also scores without it. Containers have no network at all: SageMaker
brings files and takes them away.
"""

from datetime import date
from typing import Final

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept
from exchange_constructs.private_network import APPLICATION, PrivateNetwork
from exchange_constructs.runtime_code import MODEL, ImagePull, RuntimeImage
from exchange_constructs.service_role import ServiceRole
from exchange_constructs.trade_lake import MODELS, TRAINING, TradeLake

HOUR_S: Final = 3600
VARIANT: Final = "AllTraffic"
_GROUP: Final = "Anomaly"


def model_name(config: Environment) -> str:
    """Return the name of the endpoint, and of the group of versions in the registry."""
    return f"bursa-{config.name}-anomaly"


class ModelTraining(Construct):
    """A pipeline: train on the trades that a query has laid out in the lake, register what came of it.

    A version serves nobody before a person approves it and writes its number into config.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, config: Environment, key: kms.IKey, lake: TradeLake
    ) -> None:
        """Create registry and pipeline; it is started by hand."""
        super().__init__(scope, construct_id)
        stack, name = Stack.of(self), model_name(config)
        image = RuntimeImage(self, "Image", config=config, service=MODEL)
        self.runner = ServiceRole(
            self, "Runner", service="sagemaker.amazonaws.com", description="What a container with the model may do"
        )
        self.runner.add_managed_policy(ImagePull(self, "ImagePull", config=config))
        lake.grant_train(self.runner)
        group = sagemaker.CfnModelPackageGroup(
            self,
            "Registry",
            model_package_group_name=name,
            model_package_group_description=f"{config.name}: what is usual in trading, by version",
        )
        starter = ServiceRole(
            self, "Starter", service="sagemaker.amazonaws.com", description="Trains and registers the model"
        )
        self._let_start(starter, stack, name)
        definition = _definition(
            image=image.image_uri,
            runner=self.runner.role_arn,
            host=config.analytics.model.host,
            key=key.key_arn,
            trades=f"s3://{lake.answers.bucket_name}/{TRAINING}",
            models=f"s3://{lake.answers.bucket_name}/{MODELS}",
            group=name,
        )
        pipeline = sagemaker.CfnPipeline(
            self,
            "Pipeline",
            pipeline_name=name,
            pipeline_description="Trains and registers the model of what is usual in trading",
            pipeline_definition={"PipelineDefinitionBody": stack.to_json_string(definition)},
            role_arn=starter.role_arn,
        )
        pipeline.node.add_dependency(group)
        pipeline.node.add_dependency(starter.policy)

    def _let_start(self, starter: ServiceRole, stack: Stack, name: str) -> None:
        jobs = stack.format_arn(service="sagemaker", resource="training-job", resource_name="pipelines-*")
        versions = stack.format_arn(service="sagemaker", resource="model-package", resource_name=f"{name}/*")
        registry = stack.format_arn(service="sagemaker", resource="model-package-group", resource_name=name)
        for actions, resources in (
            (("AddTags", "CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob"), [jobs]),
            (("AddTags", "CreateModelPackage", "DescribeModelPackage"), [versions, registry]),
        ):
            iam.Grant.add_to_principal(
                grantee=starter, actions=[f"sagemaker:{action}" for action in actions], resource_arns=resources
            )
        starter.add_to_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[self.runner.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
        )
        where = f"arn:aws:sagemaker:{stack.region}:{stack.account}"
        accept(
            starter.policy,
            f"AwsSolutions-IAM5[Resource::{where}:training-job/pipelines-*]",
            f"AwsSolutions-IAM5[Resource::{where}:model-package/{name}/*]",
            reason="A pipeline names its jobs after the execution, and the registry counts its versions",
            expires=date(2027, 11, 20),
        )


class ModelEndpoint(Construct):
    """One approved version of the model, asked from inside the network only."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Environment,
        key: kms.IKey,
        network: PrivateNetwork,
        training: ModelTraining,
    ) -> None:
        """Create model, endpoint, and the way to it."""
        super().__init__(scope, construct_id)
        stack, name = Stack.of(self), model_name(config)
        version = config.analytics.model.served_version
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=training.runner.role_arn,
            enable_network_isolation=True,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(
                model_package_name=stack.format_arn(
                    service="sagemaker", resource="model-package", resource_name=f"{name}/{version}"
                )
            ),
        )
        served = sagemaker.CfnEndpointConfig(
            self,
            "Served",
            kms_key_id=key.key_arn,
            production_variants=[
                sagemaker.CfnEndpointConfig.ProductionVariantProperty(
                    variant_name=VARIANT,
                    model_name=model.attr_model_name,
                    instance_type=config.analytics.model.host,
                    initial_instance_count=config.network.az_count,
                    initial_variant_weight=1,
                )
            ],
        )
        sagemaker.CfnEndpoint(
            self, "Endpoint", endpoint_name=name, endpoint_config_name=served.attr_endpoint_config_name
        )
        access = ec2.SecurityGroup(
            self, "Access", vpc=network.vpc, description="Endpoint of models", allow_all_outbound=False
        )
        access.add_ingress_rule(network.inside, ec2.Port.tcp(443), "scores, from inside the network")
        ec2.InterfaceVpcEndpoint(
            self,
            "Way",
            vpc=network.vpc,
            service=ec2.InterfaceVpcEndpointAwsService.SAGEMAKER_RUNTIME,
            subnets=ec2.SubnetSelection(subnet_group_name=APPLICATION),
            security_groups=[access],
            open=False,
        )


def _definition(
    *, image: str, runner: str, host: str, key: str, trades: str, models: str, group: str
) -> dict[str, object]:
    """Return the pipeline in SageMaker's own language, version 2020-12-01."""
    training = {
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "ContainerArguments": ["train"],
            "ContainerEntrypoint": ["python", "-m", "runtime.anomaly.container"],
        },
        "InputDataConfig": [
            {
                "ChannelName": "trades",
                "DataSource": {
                    "S3DataSource": {
                        "S3DataType": "S3Prefix",
                        "S3Uri": trades,
                        "S3DataDistributionType": "FullyReplicated",
                    }
                },
            }
        ],
        "OutputDataConfig": {"S3OutputPath": models, "KmsKeyId": key},
        "ResourceConfig": {"InstanceType": host, "InstanceCount": 1, "VolumeSizeInGB": 30, "VolumeKmsKeyId": key},
        "StoppingCondition": {"MaxRuntimeInSeconds": HOUR_S},
        "RoleArn": runner,
        "EnableNetworkIsolation": True,
    }
    register = {
        "ModelPackageGroupName": group,
        "ModelApprovalStatus": "PendingManualApproval",
        "InferenceSpecification": {
            "Containers": [{"Image": image, "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}}],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
            "SupportedRealtimeInferenceInstanceTypes": [host],
        },
    }
    return {
        "Version": "2020-12-01",
        "Steps": [
            {"Name": "Train", "Type": "Training", "Arguments": training},
            {"Name": "Register", "Type": "RegisterModel", "Arguments": register},
        ],
    }
