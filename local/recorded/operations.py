"""Scaling, machines, images, canaries, pages: what runs and watches processes in AWS. The launcher does so here."""

from collections.abc import Mapping
from typing import Final

from local.recorded.forms import Recorded, of_service

SCALING: Final = "the launcher starts the smallest number that the template allows"
MACHINES: Final = "processes of this machine stand in for instances"
IMAGES: Final = "processes run from the checkout; no image is built"
WATCHING: Final = "`make status` shows what runs here, and nobody is paged"

TYPES: Final[Mapping[str, Recorded]] = {
    "AWS::ApplicationAutoScaling::ScalableTarget": Recorded(reason=SCALING, ref="service/{name}"),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Recorded(
        reason=SCALING, ref="arn:aws:autoscaling:{region}:{account}:scalingPolicy:{uuid}"
    ),
    "AWS::AutoScaling::AutoScalingGroup": Recorded(
        reason=SCALING,
        ref="{name}",
        name_property="AutoScalingGroupName",
        attributes={
            "AutoScalingGroupARN": "arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{uuid}:"
            "autoScalingGroupName/{name}"
        },
    ),
    "AWS::AutoScaling::LifecycleHook": Recorded(reason=SCALING, ref="{name}"),
    "AWS::AutoScaling::ScalingPolicy": Recorded(
        reason=SCALING, ref="arn:aws:autoscaling:{region}:{account}:scalingPolicy:{uuid}"
    ),
    **of_service("AutoScaling", SCALING, "ScheduledAction", "WarmPool"),
    **of_service("ARCZonalShift", "one machine has one zone", "ZonalAutoshiftConfiguration"),
    "AWS::CDK::Metadata": Recorded(reason="tells AWS which constructs were used", ref="{name}"),
    "AWS::EC2::LaunchTemplate": Recorded(
        reason="its service descriptor is started as a process",
        ref="lt-{hex17}",
        attributes={"LaunchTemplateId": "{ref}", "DefaultVersionNumber": "1", "LatestVersionNumber": "1"},
    ),
    "AWS::EC2::Volume": Recorded(reason=MACHINES, ref="vol-{hex17}", attributes={"VolumeId": "{ref}"}),
    **of_service("EC2", MACHINES, "CapacityReservation", "EC2Fleet", "KeyPair", "VolumeAttachment"),
    **of_service(
        "ImageBuilder",
        IMAGES,
        "Component",
        "ContainerRecipe",
        "DistributionConfiguration",
        "Image",
        "ImagePipeline",
        "ImageRecipe",
        "InfrastructureConfiguration",
        "LifecyclePolicy",
    ),
    **of_service(
        "ECR",
        IMAGES,
        "PullThroughCacheRule",
        "RegistryPolicy",
        "RegistryScanningConfiguration",
        "ReplicationConfiguration",
    ),
    "AWS::ECR::Repository": Recorded(
        reason=IMAGES,
        ref="{name}",
        name_property="RepositoryName",
        attributes={
            "Arn": "arn:aws:ecr:{region}:{account}:repository/{ref}",
            "RepositoryUri": "{account}.dkr.ecr.{region}.amazonaws.com/{ref}",
        },
    ),
    "AWS::CodeBuild::Project": Recorded(
        reason=IMAGES,
        ref="{name}",
        name_property="Name",
        attributes={"Arn": "arn:aws:codebuild:{region}:{account}:project/{ref}"},
    ),
    **of_service("Signer", IMAGES, "ProfilePermission", "SigningProfile"),
    **of_service("Lambda", "code is signed for AWS only", "CodeSigningConfig"),
    "AWS::CloudWatch::CompositeAlarm": Recorded(
        reason="moto has none",
        ref="{name}",
        name_property="AlarmName",
        attributes={"Arn": "arn:aws:cloudwatch:{region}:{account}:alarm:{ref}"},
    ),
    **of_service("CloudWatch", WATCHING, "AnomalyDetector", "InsightRule", "MetricStream"),
    "AWS::APS::Workspace": Recorded(
        reason=WATCHING,
        ref="arn:aws:aps:{region}:{account}:workspace/ws-{uuid}",
        attributes={
            "Arn": "{ref}",
            "WorkspaceId": "ws-{uuid}",
            "PrometheusEndpoint": "https://aps-workspaces.{region}.amazonaws.com/workspaces/ws-{uuid}/",
        },
    ),
    **of_service("Synthetics", WATCHING, "Canary", "Group"),
    **of_service("RUM", WATCHING, "AppMonitor"),
    **of_service("XRay", WATCHING, "Group", "SamplingRule"),
    **of_service("ApplicationSignals", WATCHING, "ServiceLevelObjective"),
    **of_service("Chatbot", WATCHING, "MicrosoftTeamsChannelConfiguration", "SlackChannelConfiguration"),
    **of_service("SSMContacts", WATCHING, "Contact", "ContactChannel", "Plan"),
    **of_service("SSMIncidents", WATCHING, "ReplicationSet", "ResponsePlan"),
    **of_service("DevOpsGuru", WATCHING, "NotificationChannel", "ResourceCollection"),
    **of_service("SSM", MACHINES, "Association", "Document", "MaintenanceWindow", "PatchBaseline", "ResourceDataSync"),
    **of_service("FIS", "faults are injected by tests", "ExperimentTemplate", "TargetAccountConfiguration"),
    **of_service("SES", "moto sends no mail", "ConfigurationSetEventDestination", "VdmAttributes"),
    **of_service("ResilienceHub", WATCHING, "App", "ResiliencyPolicy"),
    **of_service("ResourceGroups", "resources are found by their templates", "Group"),
    **of_service("ServiceCatalogAppRegistry", "resources are found by their templates", "Application"),
    **of_service(
        "Logs",
        "logs of processes are files here",
        "AccountPolicy",
        "Delivery",
        "DeliveryDestination",
        "DeliverySource",
        "LogAnomalyDetector",
        "QueryDefinition",
        "SubscriptionFilter",
        "Transformer",
    ),
}
