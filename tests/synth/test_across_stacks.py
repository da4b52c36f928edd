"""What must hold of everything in every stack, whoever adds it. `test_planted_faults.py` shows each rule red once."""

import json
import re
from collections.abc import Iterator
from typing import Any

ANYWHERE = {"0.0.0.0/0", "::/0"}
EDGE = "Gateway/StreamFront"
"""The one entry that faces the internet; the other, CloudFront, has no address in a network of ours."""
WITHOUT_RESOURCE = {
    "cloudwatch:PutMetricData",
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    "ecr:GetAuthorizationToken",
    "xray:GetSamplingRules",
    "xray:GetSamplingTargets",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""Actions for which AWS knows no resource, or which Lambda wants to hold without one before it enters a network."""


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allowing(exchange: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every allowing statement of an identity or resource policy, wherever it stands.

    Not that of an endpoint, nor a boundary: they narrow what passes, and grant nothing.
    """
    for path, resource in exchange.resources():
        if resource["Type"] == "AWS::EC2::VPCEndpoint":
            continue
        properties = resource.get("Properties", {})
        if properties.get("ManagedPolicyName") == f"bursa-{exchange.config.name}-boundary":
            continue
        documents = [properties.get(name) for name in ("PolicyDocument", "KeyPolicy", "ResourcePolicy")]
        documents += [policy["PolicyDocument"] for policy in properties.get("Policies", []) if isinstance(policy, dict)]
        for document in documents:
            if isinstance(document, dict):
                for statement in listed(document.get("Statement", [])):
                    if statement["Effect"] == "Allow":
                        yield f"{path} ({resource['Type']})", statement


def test_no_action_is_a_star(exchange: Any) -> None:
    """Neither `*` nor a whole service; a key's own policy must let its account administer it."""
    wide = [
        f"{path}: {action}"
        for path, statement in allowing(exchange)
        for action in listed(statement.get("Action", []))
        if action == "*" or (action.endswith(":*") and "AWS::KMS::Key" not in path)
    ]
    assert wide == []


def explained(exchange: Any) -> set[str]:
    """Return the policies whose `Resource: *` somebody accepted with a reason, as the assembly records it."""
    found = set()
    for file in exchange.folder.glob("*.metadata.json"):
        entries = json.loads(file.read_text())
        accepted = {
            path
            for path, each in entries.items()
            for entry in each
            if entry["type"] == "aws:cdk:acknowledged-rules" and "IAM5[Resource::*]" in json.dumps(entry["data"])
        }
        for path, each in entries.items():
            if any(path == place or path.startswith(f"{place}/") for place in accepted):
                stack = path.split("/")[2]
                found |= {f"{stack}/{entry['data']}" for entry in each if entry["type"] == "aws:cdk:logicalId"}
    return found


def test_an_identity_may_not_touch_everything(exchange: Any) -> None:
    """`Resource: *` stands where AWS knows no resource, under a condition that narrows it, or with a reason."""
    known = explained(exchange)
    wide = [
        f"{path}: {sorted(set(listed(statement['Action'])) - WITHOUT_RESOURCE)}"
        for path, statement in allowing(exchange)
        if "AWS::IAM::" in path
        and "*" in listed(statement.get("Resource", []))
        and not set(listed(statement["Action"])) <= WITHOUT_RESOURCE
        and "Condition" not in statement
        and path.split(" ")[0] not in known
    ]
    assert wide == []


def test_nobody_unknown_is_let_in_by_a_resource(exchange: Any) -> None:
    """A policy of a resource that allows anybody does so under a condition."""
    open_to_all = [
        path
        for path, statement in allowing(exchange)
        if statement.get("Principal") in ("*", {"AWS": "*"}) and not statement.get("Condition")
    ]
    assert open_to_all == []


PUBLIC = {  # type → property that would open it, and the value that does
    "AWS::RDS::DBInstance": ("PubliclyAccessible", True),
    "AWS::DMS::ReplicationInstance": ("PubliclyAccessible", True),
    "AWS::Redshift::Cluster": ("PubliclyAccessible", True),
    "AWS::RedshiftServerless::Workgroup": ("PubliclyAccessible", True),
    "AWS::EC2::Subnet": ("MapPublicIpOnLaunch", True),
    "AWS::Lambda::Url": ("AuthType", "NONE"),
    "AWS::SageMaker::NotebookInstance": ("DirectInternetAccess", "Enabled"),
    "AWS::Timestream::InfluxDBInstance": ("PubliclyAccessible", True),
}


def public(resource: dict[str, Any]) -> bool:
    """Whether `resource` has an address of its own on the internet, or an entry that asks for nothing."""
    properties = resource.get("Properties", {})
    match resource["Type"]:
        case "AWS::ElasticLoadBalancingV2::LoadBalancer":
            return properties.get("Scheme") != "internal"
        case "AWS::ECS::Service":
            network = properties.get("NetworkConfiguration", {}).get("AwsvpcConfiguration", {})
            return network.get("AssignPublicIp") == "ENABLED"
        case "AWS::EC2::LaunchTemplate":
            interfaces = properties["LaunchTemplateData"].get("NetworkInterfaces", [])
            return any(interface.get("AssociatePublicIpAddress") for interface in interfaces)
        case "AWS::S3::Bucket":
            blocked = properties.get("PublicAccessBlockConfiguration", {})
            return set(blocked.values()) != {True} or len(blocked) != 4
        case "AWS::MSK::Cluster":
            access = properties["BrokerNodeGroupInfo"].get("ConnectivityInfo", {}).get("PublicAccess", {})
            return access.get("Type", "DISABLED") != "DISABLED"
        case "AWS::OpenSearchService::Domain":
            return "VPCOptions" not in properties
        case kind if kind in PUBLIC:
            name, value = PUBLIC[kind]
            return properties.get(name) == value
    return False


def test_nothing_is_public_but_the_edge(exchange: Any) -> None:
    found = [path for path, resource in exchange.resources() if public(resource)]
    assert [path for path in found if not path.startswith(EDGE)] == []
    assert len(found) == 1


def ingress(exchange: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from exchange.of_type("AWS::EC2::SecurityGroupIngress")
    for path, group in exchange.of_type("AWS::EC2::SecurityGroup"):
        for rule in group.get("SecurityGroupIngress", []):
            yield path, rule


def test_no_rule_lets_the_world_in_but_at_the_edge(exchange: Any) -> None:
    wide = [
        (path, rule.get("FromPort"), rule.get("ToPort"))
        for path, rule in ingress(exchange)
        if ANYWHERE & {rule.get("CidrIp"), rule.get("CidrIpv6")} or rule.get("IpProtocol") == "-1"
    ]
    assert [(port, to) for _, port, to in wide] == [(443, 443)]
    assert wide[0][0].startswith(EDGE)


def without_dead_letters(exchange: Any) -> list[str]:
    """Return queues that neither hand on what fails nor are themselves where failures end up."""
    final = set()
    for path, resource in exchange.resources():
        stack = path.split("/", maxsplit=1)[0]
        for named in named_dead_letters(resource.get("Properties", {})):
            text = exchange.text(named)
            final.add(
                text.strip("<>").removesuffix(".Arn")
                if "/" in text
                else f"{stack}/{text.strip('<>').removesuffix('.Arn')}"
            )
    return [
        path
        for path, queue in exchange.of_type("AWS::SQS::Queue")
        if "RedrivePolicy" not in queue and path not in final
    ]


DEAD_LETTER_NAMES = {"deadLetterTargetArn", "DeadLetterConfig", "DeadLetterQueue", "OnFailure", "ParkedQueue"}


def named_dead_letters(value: Any) -> Iterator[Any]:
    """Yield every ARN in `value` that is named as the place of what failed."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in DEAD_LETTER_NAMES:
                yield (
                    next((inner[name] for name in ("Arn", "TargetArn", "Destination") if name in inner), inner)
                    if isinstance(inner, dict)
                    else inner
                )
            else:
                yield from named_dead_letters(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from named_dead_letters(inner)


def test_every_queue_has_dead_letters_or_is_them(exchange: Any) -> None:
    assert without_dead_letters(exchange) == []


def test_every_log_group_has_a_retention_and_a_key(exchange: Any) -> None:
    groups = list(exchange.of_type("AWS::Logs::LogGroup"))
    assert len(groups) >= 8
    assert [path for path, group in groups if not group.get("RetentionInDays") or not group.get("KmsKeyId")] == []


RECOVERABLE = {  # type → whether its properties let us go back in time
    "AWS::DynamoDB::GlobalTable": lambda table: all(
        replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        for replica in table["Replicas"]
    ),
    "AWS::DynamoDB::Table": lambda table: (
        table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
    ),
    "AWS::RDS::DBCluster": lambda cluster: cluster["BackupRetentionPeriod"] >= 30 and cluster["DeletionProtection"],
    "AWS::S3::Bucket": lambda bucket: bucket["VersioningConfiguration"]["Status"] == "Enabled",
    "AWS::Kinesis::Stream": lambda stream: stream["RetentionPeriodHours"] >= 168,
    "AWS::MSK::Cluster": lambda cluster: cluster["NumberOfBrokerNodes"] >= 3,
}


def test_in_prod_what_is_stored_can_be_brought_back(prod: Any) -> None:
    lost = []
    for path, resource in prod.resources():
        if (check := RECOVERABLE.get(resource["Type"])) is None:
            continue
        try:
            kept = check(resource["Properties"])
        except KeyError:
            kept = False
        if not kept:
            lost.append(f"{path} ({resource['Type']})")
    assert lost == []


def test_no_secret_stands_in_a_template(exchange: Any) -> None:
    """Not in a value, not in a variable: a secret is named by its ARN."""
    for path, resource in exchange.resources():
        text = json.dumps(resource)
        if resource["Type"] == "AWS::Events::Connection":
            # EventBridge takes a key by value only; CloudFormation reads it as it deploys, and the template names it.
            value = exchange.text(resource["Properties"]["AuthParameters"]["ApiKeyAuthParameters"]["ApiKeyValue"])
            assert re.fullmatch(r"\{\{resolve:secretsmanager:<\w+>:SecretString:api_key::\}\}", value), path
        else:
            if path.startswith("Analytics/TimeSeriesDatabase"):
                continue  # InfluxDB takes its first password in no other way, behind a switch that is off
            assert "{{resolve:secretsmanager" not in text, path
    for path, task in exchange.of_type("AWS::ECS::TaskDefinition"):
        names = [
            each["Name"] for container in task["ContainerDefinitions"] for each in container.get("Environment", [])
        ]
        assert [name for name in names if name.endswith(("PASSWORD", "SECRET", "TOKEN", "PRIVATE_KEY"))] == [], path
    for path, function in exchange.of_type("AWS::Lambda::Function"):
        names = function.get("Environment", {}).get("Variables", {})
        assert [name for name in names if name.endswith(("PASSWORD", "SECRET", "TOKEN", "PRIVATE_KEY"))] == [], path
