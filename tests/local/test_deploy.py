"""Deploying small templates into a real moto: what is placed, what is refused, and how the refusal reads."""

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER, ResourceNotFoundError

from local.assembly import Assembly, Stack
from local.cloud import Cloud, StandIns
from local.deploy import (
    _WITHOUT_SCHEMA,
    DeployError,
    Deployment,
    UnsupportedTypeError,
    _load_providers,
    deploy,
    read_secret,
)
from local.providers import REGISTRY
from local.recorded import RECORDED
from tests.local.world import ACCOUNT, REGION

Deploy = Callable[..., Deployment]
QUEUE = {"Type": "AWS::SQS::Queue"}


def stack(name: str, resources: dict[str, Any], **sections: Any) -> Stack:
    return Stack(name=name, account=ACCOUNT, region=REGION, template={"Resources": resources, **sections})


@pytest.fixture
def deployed(cloud: Cloud) -> Deploy:
    def run(resources: dict[str, Any], *more: Stack, **sections: Any) -> Deployment:
        return deploy(Assembly("Test", (stack("S", resources, **sections), *more)), cloud)

    return run


def test_a_type_in_neither_list_stops_the_run_by_name(deployed: Deploy) -> None:
    with pytest.raises(DeployError, match=r"S/Game: AWS::GameLift::Build has no provider .*recorded/"):
        deployed({"Game": {"Type": "AWS::GameLift::Build"}})


def test_a_type_the_region_does_not_have_stops_the_run(deployed: Deploy) -> None:
    with pytest.raises(DeployError, match=r"AWS::Amplify::App.*not found in 'ap-southeast-3'"):
        deployed({"App": {"Type": "AWS::Amplify::App"}})
    assert issubclass(UnsupportedTypeError, DeployError)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"Fn::GetAtt": ["Queue", "VisibilityTimeOut"]}, "has no attribute 'VisibilityTimeOut'"),
        ({"Ref": "Nothing"}, "no resource or parameter 'Nothing'"),
        ({"Fn::ImportValue": "nothing"}, "no earlier stack exports 'nothing'"),
        ({"Fn::GetStackOutput": {"StackName": "Later", "OutputName": "X"}}, "has no output 'X' yet"),
        ({"Fn::FindInMap": ["a", "b", "c"]}, "no mapping a/b/c"),
        ({"Fn::If": ["Never", 1, 2]}, "no condition 'Never'"),
        ({"Fn::Cidr": [1]}, "no rule for Fn::Cidr"),
    ],
)
def test_a_wrong_reference_is_an_error_with_the_path(deployed: Deploy, value: Any, complaint: str) -> None:
    topic = {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": value}}
    with pytest.raises(DeployError, match=rf"S/Topic \(AWS::SNS::Topic\): .*{complaint}"):
        deployed({"Queue": QUEUE, "Topic": topic})


def test_what_the_service_refuses_is_told_with_the_path(deployed: Deploy) -> None:
    alias = {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": "alias/a", "TargetKeyId": "nothing"}}
    with pytest.raises(DeployError, match=r"S/Alias .*the embedded AWS answered: .*NotFoundException"):
        deployed({"Alias": alias})


def test_conditions_parameters_mappings_and_outputs(deployed: Deploy) -> None:
    later = stack(
        "T",
        {
            "Topic": {
                "Type": "AWS::SNS::Topic",
                "Properties": {
                    "DisplayName": {"Fn::Join": ["/", [{"Fn::ImportValue": "the-queue"}, {"Ref": "AWS::StackName"}]]},
                    "TopicName": {"Fn::GetStackOutput": {"StackName": "S", "OutputName": "Size"}},
                },
            }
        },
    )
    deployment = deployed(
        {
            "Queue": {**QUEUE, "Properties": {"VisibilityTimeout": {"Fn::FindInMap": ["Time", {"Ref": "Size"}, "s"]}}},
            "Skipped": {**QUEUE, "Condition": "IsLarge"},
            "Image": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Ref": "Ami"}}},
        },
        later,
        Parameters={
            "Size": {"Type": "String", "Default": "small"},
            "Ami": {
                "Type": "AWS::SSM::Parameter::Value<AWS::EC2::Image::Id>",
                "Default": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.1-arm64",
            },
        },
        Conditions={"IsLarge": {"Fn::Equals": [{"Ref": "Size"}, "large"]}},
        Mappings={"Time": {"small": {"s": 7}}},
        Outputs={
            "Size": {"Value": {"Ref": "Size"}},
            "Name": {"Value": {"Fn::GetAtt": ["Queue", "QueueName"]}, "Export": {"Name": "the-queue"}},
        },
    )
    assert "S/Skipped" not in deployment.resources
    name = deployment.resources["S/Queue"].placed.attributes["QueueName"]
    topic = deployment.resources["T/Topic"].wanted.properties
    assert topic == {"DisplayName": f"{name}/T", "TopicName": "small"}
    assert deployment.resources["S/Queue"].wanted.properties["VisibilityTimeout"] == 7
    assert deployment.resources["S/Image"].wanted.properties["DisplayName"].startswith("ami-")
    assert deployment.output("Size") == "small"
    with pytest.raises(DeployError, match="0 stacks have an output Nothing"):
        deployment.output("Nothing")


def test_the_database_is_the_stand_in_and_its_secret_leads_there(cloud: Cloud) -> None:
    cloud.stand_ins = StandIns(("127.0.0.1", 54321), ("127.0.0.1", 6390))
    password = {"Fn::Sub": "{{resolve:secretsmanager:${Login}:SecretString:password::}}"}
    resources = {
        "Cluster": {
            "Type": "AWS::RDS::DBCluster",
            "Properties": {"MasterUsername": "bursa", "MasterUserPassword": password, "DatabaseName": "ledger"},
        },
        "Login": {
            "Type": "AWS::SecretsManager::Secret",
            "Properties": {
                "GenerateSecretString": {
                    "GenerateStringKey": "password",
                    "SecretStringTemplate": '{"username":"bursa"}',
                }
            },
        },
        "Attachment": {
            "Type": "AWS::SecretsManager::SecretTargetAttachment",
            "Properties": {
                "SecretId": {"Ref": "Login"},
                "TargetId": {"Ref": "Cluster"},
                "TargetType": "AWS::RDS::DBCluster",
            },
        },
        "Cache": {"Type": "AWS::ElastiCache::ServerlessCache", "Properties": {"Engine": "valkey"}},
        "Url": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {
                "Type": "String",
                "Value": {"Fn::Sub": "rediss://${Cache.Endpoint.Address}:${Cache.Endpoint.Port}"},
            },
        },
    }
    deployment = deploy(Assembly("Test", (stack("S", resources),)), cloud)
    arn = deployment.resources["S/Login"].placed.ref
    assert read_secret(cloud, arn, key="host") == "127.0.0.1"
    assert read_secret(cloud, arn, key="port") == "54321"
    assert read_secret(cloud, arn, key="dbname") == "ledger"
    (login,) = cloud.logins.values()
    assert login == ("bursa", read_secret(cloud, arn, key="password"))
    assert deployment.resources["S/Url"].wanted.properties["Value"] == "rediss://127.0.0.1:6390"


def test_recorded_resources_look_like_the_real_thing_and_stay_the_same(deployed: Deploy) -> None:
    resources = {
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "Balancer": {"Type": "AWS::ElasticLoadBalancingV2::LoadBalancer", "Properties": {}},
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {
                "DisplayName": {"Fn::Sub": "${Vpc} ${Vpc.CidrBlock} ${Balancer.DNSName}"},
            },
        },
    }
    name = deployed(resources).resources["S/Topic"].wanted.properties["DisplayName"]
    vpc, block, host = name.split(" ")
    assert vpc.startswith("vpc-")
    assert len(vpc) == len("vpc-") + 17
    assert block == "10.0.0.0/16"
    assert host.endswith(f".elb.{REGION}.amazonaws.com")


@pytest.mark.parametrize("type_name", sorted(RECORDED))
def test_every_recorded_type_says_why_and_offers_only_legal_attributes(type_name: str) -> None:
    kind = RECORDED[type_name]
    assert kind.reason
    if not type_name.startswith(_WITHOUT_SCHEMA):
        legal = _schema_anywhere(type_name).get_atts
        assert [attribute for attribute in kind.attributes if legal.get(attribute) is None] == []


def test_no_type_is_both_created_and_recorded() -> None:
    _load_providers()
    assert REGISTRY.keys() & RECORDED.keys() == set()


def _schema_anywhere(type_name: str) -> Any:
    for region in (REGION, "ap-southeast-1", "us-east-1"):
        with contextlib.suppress(ResourceNotFoundError):
            return PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, type_name)
    raise AssertionError(f"{type_name} is in no region of ours")


def test_a_recorded_type_without_a_form_of_its_own_follows_the_registry(deployed: Deploy) -> None:
    resources = {
        "Plan": {"Type": "AWS::Backup::RestoreTestingPlan", "Properties": {"RestoreTestingPlanName": "monthly"}},
        "Share": {"Type": "AWS::RAM::ResourceShare", "Properties": {"Name": "s"}},
        "Group": {"Type": "AWS::GuardDuty::Filter", "Properties": {"DetectorId": "d", "Name": "n"}},
        "Topic": {
            "Type": "AWS::SNS::Topic",
            "Properties": {
                "DisplayName": {"Fn::Sub": "${Plan} ${Plan.RestoreTestingPlanArn} ${Share} ${Share.Arn} ${Group}"}
            },
        },
    }
    told = deployed(resources).resources["S/Topic"].wanted.properties["DisplayName"].split(" ")
    assert told[0] == "monthly"
    assert told[1].startswith(f"arn:aws:backup:{REGION}:{ACCOUNT}:restoretestingplan/")
    assert told[2] == told[3]
    assert told[2].startswith(f"arn:aws:ram:{REGION}:{ACCOUNT}:resourceshare/")
    assert told[4] == "d|n"


def test_stacks_in_other_regions_are_deployed_there_and_reached_by_region(cloud: Cloud) -> None:
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 9}}
    edge = Stack(
        name="Edge",
        account=ACCOUNT,
        region="us-east-1",
        template={
            "Resources": {"Queue": queue},
            "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Queue", "Arn"]}, "Export": {"Name": "arn"}}},
        },
    )

    def named(where: dict[str, str]) -> Stack:
        reference = {"Fn::GetStackOutput": {"StackName": "Edge", "OutputName": "Arn", **where}}
        return stack("Home", {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": reference}}})

    deployment = deploy(Assembly("Test", (edge, named({"Region": "us-east-1"}))), cloud)
    arn = deployment.resources["Home/Topic"].wanted.properties["DisplayName"]
    assert arn.startswith("arn:aws:sqs:us-east-1:")
    assert len(cloud.client("sqs", "us-east-1").list_queues()["QueueUrls"]) == 1
    assert "QueueUrls" not in cloud.client("sqs").list_queues()
    with pytest.raises(DeployError, match=f"stack 'Edge' in {REGION} has no output 'Arn' yet"):
        deploy(Assembly("Test", (named({}),)), cloud)
    with pytest.raises(DeployError, match="no rule for Fn::GetStackOutput with"):
        deploy(Assembly("Test", (named({"RoleArn": "arn"}),)), cloud)
    imported = stack(
        "Other", {"T": {"Type": "AWS::SNS::Topic", "Properties": {"DisplayName": {"Fn::ImportValue": "arn"}}}}
    )
    with pytest.raises(DeployError, match="no earlier stack exports 'arn'"):
        deploy(Assembly("Test", (replace(edge, name="Edge2"), imported)), cloud)
