"""Analytics with every switch on: no open finding, nothing that Jakarta lacks; and with all off, nothing is made."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

import local.deploy
from config import region_guard
from config.analytics import (
    AnalyticsConfig,
    DashboardConfig,
    ModelConfig,
    SearchConfig,
    StreamJobConfig,
    TimeSeriesConfig,
    WarehouseConfig,
)
from config.environments import DEV
from config.model import ConfigError, checked
from local.providers import REGISTRY
from local.recorded import RECORDED
from runtime.shared.trade_metrics import DIMENSIONS, METRICS, daily_query
from runtime.surveillance.job_settings import GROUP, read_settings
from tests.conftest import Exchange

SWITCHES = {
    "Surveillance": {"RunsStreamJob", "AsksEndpoint"},
    "Analytics": {
        "ReadsByGrants",
        "TrainsModel",
        "ServesModel",
        "DrawsDashboard",
        "HasWarehouse",
        "HasTimeSeries",
        "HasSearch",
    },
    "Telemetry": {"Collects"},
}
NEEDS = {"TrainsModel": "ServesModel"}
"""What is never on unless the first is: config refuses it, see the wrong values below."""


def switched(exchange: Exchange, name: str) -> dict[str, dict[str, Any]]:
    """Return the resources that a switch governs."""
    return {path: resource for path, resource in exchange.resources() if resource.get("Condition", "") == name}


def is_on(exchange: Exchange, stack: str, name: str) -> bool:
    return bool(exchange.stacks[stack]["Mappings"][f"{name}State"]["Switch"]["On"] == "yes")


def test_each_switch_is_off_everywhere_and_turns_on(exchange: Exchange, turned_on: Exchange) -> None:
    for stack, names in SWITCHES.items():
        for name in names:
            assert not is_on(exchange, stack, name)
            assert is_on(turned_on, stack, name)
            assert switched(exchange, name).keys() == switched(turned_on, name).keys() != set()


def test_what_is_turned_on_exists_in_jakarta(turned_on: Exchange) -> None:
    assert region_guard.problems(turned_on.folder) == []


def test_what_is_turned_on_is_as_its_schema_of_jakarta_says(turned_on: Exchange) -> None:
    """Names of properties, required ones, and the type itself, by the registry's schemas of the region."""
    for stack, names in SWITCHES.items():
        for logical_id, resource in turned_on.stacks[stack]["Resources"].items():
            if resource.get("Condition") not in names:
                continue
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("ap-southeast-3", resource["Type"]).schema
            given = resource.get("Properties", {}).keys()
            assert given <= schema["properties"].keys(), logical_id
            assert set(schema.get("required", ())) <= given, logical_id


def test_what_is_turned_on_can_be_placed_here(turned_on: Exchange) -> None:
    """Turned on, `make up` still deploys: each type is real or recorded."""
    local.deploy._load_providers()
    kinds = {resource["Type"] for stack in SWITCHES for resource in turned_on.stacks[stack]["Resources"].values()}
    assert kinds - REGISTRY.keys() - RECORDED.keys() == set()


def test_nothing_refers_to_what_is_off(exchange: Exchange) -> None:
    """A reference to a resource whose condition does not hold fails the deployment."""
    for stack, names in SWITCHES.items():
        for name in names:
            governed = {path.split("/")[1] for path in switched(exchange, name)}
            for logical_id, resource in exchange.stacks[stack]["Resources"].items():
                if resource.get("Condition") not in {name, NEEDS.get(name)}:
                    text = json.dumps(resource)
                    assert not [each for each in governed if f'"{each}"' in text], logical_id


def test_the_flink_job_is_told_where_to_read_and_write(turned_on: Exchange) -> None:
    ((_, job),) = turned_on.of_type("AWS::KinesisAnalyticsV2::Application")
    groups = job["ApplicationConfiguration"]["EnvironmentProperties"]["PropertyGroups"]
    told = read_settings(
        [group | {"PropertyMap": {k: turned_on.text(v) for k, v in group["PropertyMap"].items()}} for group in groups]
    )
    assert told.region == "ap-southeast-3"
    assert "Stream" in told.stream_arn
    assert "Findings" in told.queue_url
    assert "Owners" in told.owner_table
    (options,) = [group["PropertyMap"] for group in groups if group["PropertyGroupId"] != GROUP]
    root = Path(__file__).resolve().parents[2]
    assert (root / options["python"]).is_file()
    encryption = job["ApplicationConfiguration"]["ApplicationEncryptionConfiguration"]
    assert encryption["KeyType"] == "CUSTOMER_MANAGED_KEY"
    assert "Records" in turned_on.text(encryption["KeyId"])


def test_the_flink_job_tells_findings_and_opens_no_case(turned_on: Exchange) -> None:
    ((_, policy),) = [
        (path, policy)
        for path, policy in turned_on.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("Surveillance/StreamJobRole")
    ]
    actions = set()
    for statement in policy["PolicyDocument"]["Statement"]:
        listed = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        actions |= set(listed)
    assert "sqs:SendMessage" in actions
    assert not {each for each in actions if each in {"s3:PutObject", "events:PutEvents", "dynamodb:PutItem"}}


def policy_of(exchange: Exchange, prefix: str) -> dict[str, set[str]]:
    """Return the resources by action of every managed policy under `prefix`."""
    found: dict[str, set[str]] = {}
    for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy"):
        if path.startswith(prefix):
            for statement in policy["PolicyDocument"]["Statement"]:
                for action in listed(statement["Action"]):
                    found.setdefault(action, set()).update(map(exchange.text, listed(statement["Resource"])))
    return found


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def the(exchange: Exchange, type_name: str) -> dict[str, Any]:
    """Return the one resource of a type in the stack of analytics."""
    ((_, found),) = [each for each in exchange.of_type(type_name) if each[0].startswith("Analytics/")]
    return found


def test_the_pipeline_trains_without_a_network_and_registers_what_a_person_approves(turned_on: Exchange) -> None:
    pipeline = the(turned_on, "AWS::SageMaker::Pipeline")
    definition = json.loads(turned_on.text(pipeline["PipelineDefinition"]["PipelineDefinitionBody"]))
    train, register = definition["Steps"]
    assert train["Arguments"]["EnableNetworkIsolation"] is True
    assert train["Arguments"]["AlgorithmSpecification"]["ContainerEntrypoint"][-1] == "runtime.anomaly.container"
    assert "Records" in train["Arguments"]["ResourceConfig"]["VolumeKmsKeyId"]
    assert train["Arguments"]["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"].endswith("answers/training/")
    assert register["Arguments"]["ModelApprovalStatus"] == "PendingManualApproval"
    group = the(turned_on, "AWS::SageMaker::ModelPackageGroup")["ModelPackageGroupName"]
    assert register["Arguments"]["ModelPackageGroupName"] == group == "bursa-prod-anomaly"


def test_the_scorer_asks_the_version_that_config_names(turned_on: Exchange, dev: Exchange) -> None:
    def scorer(exchange: Exchange) -> str:
        ((_, function),) = [
            each for each in exchange.of_type("AWS::Lambda::Function") if each[0].startswith("Surveillance/ScorerFunc")
        ]
        return str(function["Environment"]["Variables"]["ENDPOINT"])

    assert scorer(dev) == ""
    assert scorer(turned_on) == the(turned_on, "AWS::SageMaker::Endpoint")["EndpointName"]
    container = the(turned_on, "AWS::SageMaker::Model")["PrimaryContainer"]
    assert turned_on.text(container["ModelPackageName"]).endswith(":model-package/bursa-prod-anomaly/3")
    assert policy_of(turned_on, "Surveillance/AsksModel").keys() == {"sagemaker:InvokeEndpoint"}
    assert "Records" in turned_on.text(the(turned_on, "AWS::SageMaker::EndpointConfig")["KmsKeyId"])


def test_drift_has_an_alarm_whose_page_tells_what_to_do(exchange: Exchange) -> None:
    (alarm,) = [
        properties
        for path, properties in exchange.of_type("AWS::CloudWatch::Alarm")
        if path.startswith("Surveillance/") and "ModelDrift" in json.dumps(properties)
    ]
    assert "model.md" in exchange.text(alarm["AlarmDescription"])
    ((_, made),) = [
        each for each in exchange.of_type("AWS::Logs::MetricFilter") if each[0].startswith("Surveillance/Drift")
    ]
    assert "anomaly_drift_ppm" in made["FilterPattern"]


def test_the_dashboard_draws_every_metric_and_only_reads(turned_on: Exchange) -> None:
    (table,) = the(turned_on, "AWS::QuickSight::DataSet")["PhysicalTableMap"].values()
    assert table["CustomSql"]["SqlQuery"] == daily_query()
    names = [column["Name"] for column in table["CustomSql"]["Columns"]]
    assert names == [*(name for name, _, _ in DIMENSIONS), *(metric.name for metric in METRICS)]
    (sheet,) = the(turned_on, "AWS::QuickSight::Dashboard")["Definition"]["Sheets"]
    assert [visual["LineChartVisual"]["VisualId"] for visual in sheet["Visuals"]] == [each.name for each in METRICS]
    granted = policy_of(turned_on, "Analytics/DashboardRole")
    (written,) = granted["s3:PutObject"]
    assert written.endswith("/answers/*")
    assert not [action for action in granted if action.startswith("glue:") and not action.startswith("glue:Get")]


def test_stores_lie_in_data_subnets_under_our_keys_and_closed_to_the_world(turned_on: Exchange) -> None:
    data = {
        path.split("/")[1]
        for path, _ in turned_on.of_type("AWS::EC2::Subnet")
        if path.startswith("Network/") and "DataSubnet" in path
    }
    assert len(data) == 3
    workgroup, namespace = (
        the(turned_on, "AWS::RedshiftServerless::Workgroup"),
        the(turned_on, "AWS::RedshiftServerless::Namespace"),
    )
    series, domain = (
        the(turned_on, "AWS::Timestream::InfluxDBInstance"),
        the(turned_on, "AWS::OpenSearchService::Domain"),
    )
    for given in (workgroup["SubnetIds"], series["VpcSubnetIds"], domain["VPCOptions"]["SubnetIds"]):
        assert {turned_on.text(each).split("/")[1].split(".")[0].rstrip(">") for each in given} == data
    assert workgroup["PubliclyAccessible"] is series["PubliclyAccessible"] is False
    assert "Records" in turned_on.text(namespace["KmsKeyId"])
    assert namespace["ManageAdminPassword"] is True
    assert "Data" in turned_on.text(domain["EncryptionAtRestOptions"]["KmsKeyId"])
    assert turned_on.text(series["Password"]).startswith("{{resolve:secretsmanager:")


def test_an_analyst_reads_by_iam_or_by_grants_and_never_by_both(exchange: Exchange, turned_on: Exchange) -> None:
    for each, by_grants in ((exchange, False), (turned_on, True)):
        (reads,) = switched(each, "ReadsByIam")
        assert reads.startswith("Analytics/AnalystReadsObjects")
        assert is_on(each, "Analytics", "ReadsByGrants") is by_grants
        assert is_on(each, "Analytics", "ReadsByIam") is not by_grants
    always = policy_of(turned_on, "Analytics/AnalystRole")
    assert all("/answers/*" in each for each in always["s3:GetObject"])
    assert all("Answers" in each for each in always["s3:ListBucket"])
    assert policy_of(turned_on, "Analytics/AnalystTakesGrants").keys() == {"lakeformation:GetDataAccess"}


def test_an_analyst_finds_the_objects_of_either_table_and_no_others(exchange: Exchange) -> None:
    """Athena asks S3 which objects there are, as who put the question, whether days are computed or catalogued."""
    (policy,) = (
        given
        for path, given in exchange.of_type("AWS::IAM::ManagedPolicy")
        if path.startswith("Analytics/AnalystReads")
    )
    statements = policy["PolicyDocument"]["Statement"]
    read = next(each["Resource"] for each in statements if each["Action"] == "s3:GetObject")
    found = [
        (exchange.text(each["Resource"]), each["Condition"]["StringLike"]["s3:prefix"])
        for each in statements
        if each["Action"] == "s3:ListBucket"
    ]
    assert sorted(f"{bucket}/{prefix}" for bucket, prefix in found) == sorted(map(exchange.text, read))


def test_lake_formation_knows_where_both_tables_lie_and_leaves_others_to_iam(turned_on: Exchange) -> None:
    places = [given for _, given in turned_on.of_type("AWS::LakeFormation::Resource")]
    tables = [given["TableInput"] for path, given in turned_on.of_type("AWS::Glue::Table") if "Analytics/" in path]
    registered = {turned_on.text(place["ResourceArn"]).replace(".Arn>", ">") for place in places}
    located = {
        turned_on.text(table["StorageDescriptor"]["Location"]).removeprefix("s3://").rstrip("/") for table in tables
    }
    assert registered == located
    for place in places:
        assert place["HybridAccessEnabled"] is True
        assert place["UseServiceLinkedRole"] is False
        assert "AnalystReader" in turned_on.text(place["RoleArn"])
    reader = policy_of(turned_on, "Analytics/AnalystReader")
    assert reader.keys() == {"kms:Decrypt", "s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"}


def test_analysts_are_granted_both_tables_to_read_and_nothing_to_hand_on(turned_on: Exchange) -> None:
    granted = {}
    for _, given in turned_on.of_type("AWS::LakeFormation::PrincipalPermissions"):
        assert "AnalystRole" in turned_on.text(given["Principal"]["DataLakePrincipalIdentifier"])
        assert given["PermissionsWithGrantOption"] == []
        ((kind, resource),) = given["Resource"].items()
        granted[kind, re.sub(r"[0-9A-F]{8}>$", "", turned_on.text(resource["Name"]))] = given["Permissions"]
    assert granted == {
        ("Database", "<LakeDatabase"): ["DESCRIBE"],
        ("Table", "<LakeTable"): ["DESCRIBE", "SELECT"],
        ("Table", "<CuratedTable"): ["DESCRIBE", "SELECT"],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stream_job": StreamJobConfig(parallelism=0)}, "analytics.stream_job.parallelism: must be 1 to 64, was 0"),
        ({"model": ModelConfig(served_version=1)}, "analytics.model.served_version: must be 0 while"),
        ({"model": ModelConfig(host="m5.large")}, "analytics.model.host: must be a SageMaker type"),
        (
            {"dashboard": DashboardConfig(readers="a b")},
            "analytics.dashboard.readers: must be the name of a QuickSight",
        ),
        ({"warehouse": WarehouseConfig(base_units=12)}, "analytics.warehouse.base_units: must be a multiple of 8, was"),
        ({"warehouse": WarehouseConfig(base_units=128)}, "analytics.warehouse.units_max: must be at least base_units"),
        ({"warehouse": WarehouseConfig(on=True)}, "analytics.warehouse.on: must be False in a network of 2 zones"),
        ({"time_series": TimeSeriesConfig(storage_gib=5)}, "analytics.time_series.storage_gib: must be 20 to 16384"),
        ({"search": SearchConfig(host="m5.large.search")}, "analytics.search.host: must be a Graviton type for search"),
        ({"search": SearchConfig(nodes_per_zone=0)}, "analytics.search.nodes_per_zone: must be 1 to 26, was 0"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_allowed(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        checked(dataclasses.replace(DEV, analytics=AnalyticsConfig(**change)))
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
