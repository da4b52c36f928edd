"""Analytics at a scale that one machine does not need, each off or replaced by a local program."""

from collections.abc import Mapping
from typing import Final

from local.recorded.forms import Recorded, of_service

SCALE: Final = "for a scale that one machine does not have; the same code runs as a function"
CHARTS: Final = "charts are drawn in AWS from the same tables"
MODELS: Final = "models are trained in AWS; the baseline runs as code"
SCHEMAS: Final = "moto has no schema registry; tests hold events against the same schemas"
GRANTS: Final = "the lake's own grants; calls here are judged by IAM policies"

TYPES: Final[Mapping[str, Recorded]] = {
    "AWS::KinesisAnalyticsV2::Application": Recorded(reason=SCALE, ref="{name}", name_property="ApplicationName"),
    "AWS::KinesisAnalyticsV2::ApplicationCloudWatchLoggingOption": Recorded(reason=SCALE, ref="{name}"),
    **of_service("OpenSearchService", SCALE, "Domain"),
    **of_service("OpenSearchServerless", SCALE, "AccessPolicy", "Collection", "SecurityPolicy", "VpcEndpoint"),
    **of_service("RedshiftServerless", SCALE, "Namespace", "Workgroup"),
    **of_service("Timestream", SCALE, "Database", "InfluxDBInstance", "Table"),
    **of_service("QuickSight", CHARTS, "Analysis", "Dashboard", "DataSet", "DataSource", "Template", "Theme"),
    "AWS::SageMaker::Model": Recorded(
        reason=MODELS,
        ref="arn:aws:sagemaker:{region}:{account}:model/{name}",
        name_property="ModelName",
        name_limit=63,
        attributes={"ModelArn": "{ref}", "ModelName": "{name}"},
    ),
    "AWS::SageMaker::EndpointConfig": Recorded(
        reason=MODELS,
        ref="arn:aws:sagemaker:{region}:{account}:endpoint-config/{name}",
        name_property="EndpointConfigName",
        name_limit=63,
        attributes={"EndpointConfigArn": "{ref}", "EndpointConfigName": "{name}"},
    ),
    "AWS::SageMaker::Endpoint": Recorded(
        reason=MODELS,
        ref="arn:aws:sagemaker:{region}:{account}:endpoint/{name}",
        name_property="EndpointName",
        name_limit=63,
        attributes={"EndpointArn": "{ref}", "EndpointName": "{name}"},
    ),
    "AWS::SageMaker::ModelPackageGroup": Recorded(
        reason=MODELS,
        ref="arn:aws:sagemaker:{region}:{account}:model-package-group/{name}",
        name_property="ModelPackageGroupName",
        attributes={"ModelPackageGroupArn": "{ref}"},
    ),
    **of_service("SageMaker", MODELS, "Domain", "FeatureGroup", "MonitoringSchedule", "NotebookInstance", "Pipeline"),
    "AWS::EventSchemas::Registry": Recorded(
        reason=SCHEMAS,
        ref="arn:aws:schemas:{region}:{account}:registry/{name}",
        name_property="RegistryName",
        attributes={"RegistryArn": "{ref}", "RegistryName": "{name}"},
    ),
    **of_service("EventSchemas", SCHEMAS, "Discoverer", "RegistryPolicy", "Schema"),
    **of_service(
        "LakeFormation", GRANTS, "DataLakeSettings", "PrincipalPermissions", "Resource", "Tag", "TagAssociation"
    ),
    **of_service(
        "Glue",
        "nothing crawls or runs jobs here",
        "Crawler",
        "DataCatalogEncryptionSettings",
        "DataQualityRuleset",
        "Job",
        "SecurityConfiguration",
        "Trigger",
    ),
}
