"""Who watches an account in which region, how findings come home, and that nobody breaks the glass unheard."""

import json
from typing import Any

import pytest
from moto.events.models import EventPattern

LINKED = {"SecurityWeb": "web_region", "SecurityEdge": "edge_region"}
"""Stacks of the regions that report to the home one, each with the name of its region in the configuration."""
ROLE = "bursa-break-glass"
# In truth `findings` is a list, whose items EventBridge looks through; moto does not.
SAMPLES = {
    "Threats": {"source": "aws.guardduty", "detail": {"severity": 8}},
    "Weaknesses": {"source": "aws.securityhub", "detail": {"findings": {"Severity": {"Label": "CRITICAL"}}}},
    "Vulnerabilities": {"source": "aws.inspector2", "detail": {"severity": "HIGH"}},
    "OpenDoors": {"source": "aws.access-analyzer", "detail": {"status": "ACTIVE"}},
}
MILD = {"source": "aws.guardduty", "detail": {"severity": 2}}


def homes(exchange: Any) -> dict[str, str]:
    """Return the account of each stack with a security baseline."""
    config = exchange.config
    further = {f"Security{part.title()}": account for part, account in config.accounts.distinct().items()}
    return {"Security" if name == "SecurityCore" else name: account for name, account in further.items()}


def rules(exchange: Any, stack: str) -> dict[str, dict[str, Any]]:
    """Return the rules of `stack` by what they wait for."""
    names = (*SAMPLES, "Assumed", "Acting")
    found = [(path, rule) for path, rule in exchange.of_type("AWS::Events::Rule") if path.startswith(f"{stack}/")]
    return {next(name for name in names if name in path): rule for path, rule in found}


def waiting(exchange: Any, stack: str, event: dict[str, Any]) -> set[str]:
    """Return which rules of `stack` match `event`."""
    found = rules(exchange, stack).items()
    return {name for name, rule in found if EventPattern.load(json.dumps(rule["EventPattern"])).matches_event(event)}


def call(account: str, region: str, **detail: Any) -> dict[str, Any]:
    """Return what CloudTrail writes of a call."""
    return {
        "source": "aws.sts",
        "detail-type": "AWS API Call via CloudTrail",
        "account": account,
        "region": region,
        "detail": detail,
    }


def assumed(account: str, action: str = "AssumeRole", role: str = ROLE, region: str = "ap-southeast-3") -> Any:
    arn = f"arn:aws:iam::{account}:role/{role}"
    return call(account, region, eventSource="sts.amazonaws.com", eventName=action, requestParameters={"roleArn": arn})


def at_work(account: str, role: str = ROLE, region: str = "ap-southeast-3", **identity: str) -> Any:
    issuer = {"sessionContext": {"sessionIssuer": {"type": "Role", "arn": f"arn:aws:iam::{account}:role/{role}"}}}
    return call(
        account, region, eventSource="iam.amazonaws.com", eventName="CreateUser", userIdentity=issuer | identity
    )


def region_of(exchange: Any, stack: str) -> str:
    manifest = json.loads((exchange.folder / "manifest.json").read_text())["artifacts"]
    (found,) = [
        each["environment"]
        for each in manifest.values()
        if each["type"] == "aws:cloudformation:stack" and each["properties"]["stackName"] == f"{exchange.stage}-{stack}"
    ]
    return str(found).rpartition("/")[2]


# ---- who watches where


@pytest.mark.parametrize(
    "kind",
    [
        "AWS::GuardDuty::Detector",
        "AWS::SecurityHub::Hub",
        "AWS::Config::ConfigurationRecorder",
        "AWS::Config::DeliveryChannel",
        "AWS::Config::ConformancePack",
        "AWS::AccessAnalyzer::Analyzer",
    ],
)
def test_every_account_is_watched_and_so_is_every_region_that_has_something_of_ours(exchange: Any, kind: str) -> None:
    where = [path.split("/")[0] for path, _ in exchange.of_type(kind)]
    assert sorted(where) == sorted([*homes(exchange), *LINKED])
    assert {stack: region_of(exchange, stack) for stack in LINKED} == {
        stack: getattr(exchange.config, region) for stack, region in LINKED.items()
    }


def test_no_stack_lies_where_nobody_watches(exchange: Any) -> None:
    watched = {region_of(exchange, stack) for stack in ("Security", *LINKED)}
    assert {region_of(exchange, stack) for stack in exchange.stacks} <= watched


@pytest.mark.parametrize(
    "kind",
    [
        "AWS::CloudTrail::Trail",
        "AWS::InspectorV2::CisScanConfiguration",
        "AWS::ECR::RegistryScanningConfiguration",
        "AWS::Config::ConfigurationAggregator",
    ],
)
def test_what_needs_to_be_once_in_an_account_is_at_home(exchange: Any, kind: str) -> None:
    assert sorted(path.split("/")[0] for path, _ in exchange.of_type(kind)) == sorted(homes(exchange))


def test_inspector_would_have_nothing_to_look_at_elsewhere(exchange: Any) -> None:
    kinds = (
        "AWS::EC2::Instance",
        "AWS::AutoScaling::AutoScalingGroup",
        "AWS::ECR::Repository",
        "AWS::Lambda::Function",
    )
    assert not [
        path
        for path, _ in exchange.of_type(*kinds)
        if region_of(exchange, path.split("/")[0]) != exchange.config.region
    ]


def test_what_has_no_region_is_recorded_once_and_asked_about_once(exchange: Any) -> None:
    for path, recorder in exchange.of_type("AWS::Config::ConfigurationRecorder"):
        group = recorder["RecordingGroup"]
        assert group["AllSupported"] is True
        assert group["IncludeGlobalResourceTypes"] is (path.split("/")[0] not in LINKED), path
    for path, pack in exchange.of_type("AWS::Config::ConformancePack"):
        assert "GUARDDUTY_ENABLED_CENTRALIZED" in pack["TemplateBody"]
        assert ("ROOT_ACCOUNT_MFA_ENABLED" in pack["TemplateBody"]) is (path.split("/")[0] not in LINKED), path


def test_one_view_shows_the_rules_of_every_region(exchange: Any) -> None:
    config = exchange.config
    for path, view in exchange.of_type("AWS::Config::ConfigurationAggregator"):
        (source,) = view["AccountAggregationSources"]
        assert source["AccountIds"] == [homes(exchange)[path.split("/")[0]]]
        assert set(source["AwsRegions"]) == {config.region, config.web_region, config.edge_region}


# ---- what recorders write


def test_recorders_write_where_nothing_is_locked_by_default(exchange: Any) -> None:
    """AWS Config takes no other bucket; the archive has the copy (test_perimeter)."""
    config = exchange.config
    ((path, bucket),) = [
        each for each in exchange.of_type("AWS::S3::Bucket") if each[0].startswith("Audit/Configuration")
    ]
    assert "ObjectLockConfiguration" not in bucket
    assert bucket["BucketName"] == f"bursa-{config.name}-configuration-{config.accounts.audit}", path
    for path, channel in exchange.of_type("AWS::Config::DeliveryChannel"):
        assert channel["S3BucketName"] == bucket["BucketName"], path
        assert channel["S3KmsKeyArn"] == (
            f"arn:aws:kms:{config.region}:{config.accounts.audit}:alias/bursa-{config.name}-audit"
        ), path


def test_our_recorders_alone_add_to_that_bucket(exchange: Any) -> None:
    accounts = sorted(set(exchange.config.accounts.distinct().values()))
    ((_, policy),) = [
        each for each in exchange.of_type("AWS::S3::BucketPolicy") if each[0].startswith("Audit/Configuration")
    ]
    allowed = [each for each in policy["PolicyDocument"]["Statement"] if each["Effect"] == "Allow"]
    assert {action for each in allowed for action in listed(each["Action"])} == {
        "s3:GetBucketAcl",
        "s3:ListBucket",
        "s3:PutObject",
    }
    for statement in allowed:
        assert statement["Principal"] == {"Service": "config.amazonaws.com"}
        assert sorted(listed(statement["Condition"]["StringEquals"]["aws:SourceAccount"])) == accounts


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


# ---- what comes home


@pytest.mark.parametrize("stack", LINKED)
def test_what_is_found_elsewhere_comes_home_where_the_same_rule_waits(exchange: Any, stack: str) -> None:
    account, region = exchange.config.account, region_of(exchange, stack)
    events = {
        **SAMPLES,
        "Assumed": assumed(account, region=region),
        "Acting": at_work(account, region=region),
    }
    for name, event in events.items():
        assert waiting(exchange, stack, event) == waiting(exchange, "Security", event) == {name}
    assert waiting(exchange, stack, MILD) == waiting(exchange, "Security", MILD) == set()


@pytest.mark.parametrize("stack", LINKED)
def test_a_forwarder_puts_events_on_the_home_bus_and_does_nothing_else(exchange: Any, stack: str) -> None:
    config = exchange.config
    home = f"arn:aws:events:{config.region}:{config.account}:event-bus/default"
    found = rules(exchange, stack)
    assert len(found) == len(SAMPLES) + 2
    for rule in found.values():
        assert rule["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
        (target,) = rule["Targets"]
        assert target["Arn"] == home
        assert "Role" in exchange.text(target["RoleArn"])
        assert "OperatorsUndelivered" in exchange.text(target["DeadLetterConfig"]["Arn"])
    ((_, policy),) = [
        each for each in exchange.of_type("AWS::IAM::ManagedPolicy") if each[0].startswith(f"{stack}/Forwarded")
    ]
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Action"], statement["Resource"]) == ("events:PutEvents", home)


@pytest.mark.parametrize("stack", ["Web", "Edge"])
def test_what_does_not_come_home_is_kept_by_a_queue_that_may_take_it(exchange: Any, stack: str) -> None:
    account = exchange.config.account
    by_rules = [
        (path, statement)
        for path, policy in exchange.of_type("AWS::SQS::QueuePolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if path.startswith(f"{stack}/OperatorsUndelivered")
        and statement["Principal"] == {"Service": "events.amazonaws.com"}
    ]
    ((_, statement),) = by_rules
    assert statement["Action"] == "sqs:SendMessage"
    assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": account}}
    ((_, queue),) = [
        each for each in exchange.of_type("AWS::SQS::Queue") if each[0].startswith(f"{stack}/OperatorsUndelivered")
    ]
    key = exchange.text(queue["KmsMasterKeyId"]).strip("<>").split(".")[0]
    services = [
        service
        for statement in exchange.stacks[stack]["Resources"][key]["Properties"]["KeyPolicy"]["Statement"]
        for service in listed(statement["Principal"].get("Service", []))
        if "kms:GenerateDataKey*" in listed(statement["Action"]) or "kms:GenerateDataKey" in listed(statement["Action"])
    ]
    assert "events.amazonaws.com" in services


# ---- break-glass


def test_operators_of_every_account_are_told_of_every_use_of_its_break_glass_role(exchange: Any) -> None:
    for stack, account in homes(exchange).items():
        for action in ("AssumeRole", "AssumeRoleWithSAML"):
            assert waiting(exchange, stack, assumed(account, action)) == {"Assumed"}
            assert waiting(exchange, stack, assumed(account, action, "Administrator")) == set()
        assert waiting(exchange, stack, at_work(account)) == {"Acting"}
        assert waiting(exchange, stack, at_work(account, invokedBy="cloudformation.amazonaws.com")) == set()
        assert waiting(exchange, stack, at_work(account, "Administrator")) == set()
        for name in ("Assumed", "Acting"):
            rule = rules(exchange, stack)[name]
            assert rule["State"] == "ENABLED_WITH_ALL_CLOUDTRAIL_MANAGEMENT_EVENTS"
            (target,) = rule["Targets"]
            assert "Pager" in exchange.text(target["Arn"])
            assert "LostFindings" in exchange.text(target["DeadLetterConfig"]["Arn"])
    assert exchange.config.custody.break_glass_role.endswith(f":role/{ROLE}")


def test_rules_may_tell_the_operators_they_name(exchange: Any) -> None:
    for stack in homes(exchange):
        (target,) = rules(exchange, stack)["Assumed"]["Targets"]
        pager = exchange.text(target["Arn"]).strip("<>")
        place, topic = pager.split("/") if "/" in pager else (stack, pager)
        told = [
            statement
            for _, policy in exchange.of_type("AWS::SNS::TopicPolicy")
            for statement in policy["PolicyDocument"]["Statement"]
            if [exchange.text(each) for each in policy["Topics"]] == [f"<{topic}>"]
            and statement["Effect"] == "Allow"
            and "events.amazonaws.com" in listed(statement["Principal"].get("Service", []))
        ]
        assert told, f"{stack}: {place}"
        assert all("aws:SourceAccount" in each["Condition"]["StringEquals"] for each in told)
