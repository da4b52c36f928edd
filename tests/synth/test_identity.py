"""Who may do what: each process its own role, each role its own grants, nothing with a star but what is accepted."""

import re
from collections.abc import Iterator
from typing import Any

STAR_NEEDED = {
    "ecr:GetAuthorizationToken",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
    # Lambda asks for these on every interface before it joins a function to the network.
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    # Managed Flink joins a job to the network as the role of the job, and looks the network up.
    "ec2:CreateNetworkInterfacePermission",
    "ec2:DescribeDhcpOptions",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeVpcs",
    # State machines have their log delivered by these.
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery",
    "logs:ListLogDeliveries",
    "logs:PutResourcePolicy",
    "logs:UpdateLogDelivery",
    # What it opens is what Lake Formation granted.
    "lakeformation:GetDataAccess",
}
"""Actions that know no resource."""
ASKS_SIGNERS = "Withdrawals/ClerkRole"
"""It knows the key of the wallet account's table by the table alone."""
MARKED = ("Backup/BackupsRole", "Nodes/SnapshotsRole")
"""AWS Backup: it works on what plans select, and restores under names of its own."""
SHARED = ("PlatformNetworkAccess", "PlatformWorkflowTelemetry", "ClusterImagePull", "TrainingImagePull")
"""Policies that several roles have: what functions need of the network, state machines of a log, tasks of an image."""
COPIER = (
    "Foundation/CopiesRole",
    "Foundation/LogCopiesRole",
    "EdgeStore/LogsCopiesRole",
    "Nodes/LogCopiesRole",
    "Audit/ConfigurationCopiesRole",
)
"""S3 itself: it copies from stores that are made after this role, of this environment and account; logs, into the
archive of another account, under a key that a condition holds to that of the archive."""
SCANS = ("<Documents", "arn:aws:events:ap-southeast-3:")
"""What customers upload, and the rules by which GuardDuty hears of it; a condition holds those to GuardDuty."""
RECORDS = (
    "<Archive",
    "<Evidence",
    "<Surveillance/Evidence",
    "<LakeAnswers",
    "<LakeRaw",
    "<CuratedDays",
    "<Ledger",
    "<Reports",
    "<TransferOut",
    "<Landing",
)
HOSTS = "arn:aws:ec2:ap-southeast-3:"
"""Of nodes: each attaches its disk to itself; a condition holds it to the tag of its group."""
PIPELINE = ("arn:aws:sagemaker:ap-southeast-3:",)
"""A pipeline names its jobs after the execution, the registry counts versions; each begins with the name of ours."""
OWN_NAMES = ("<SnapshotsBucket", "arn:aws:logs:", HOSTS, *PIPELINE, *RECORDS, *SCANS)
"""Resources whose last part is known only at run time; what comes before it is exact."""

OPERATORS = (
    "Analytics/AnalystRole",
    "Analytics/SearchSearcher",
    "Controls/Approver",
    "Controls/Asker",
    "Controls/Brakeman",
    "Liquidity/Manager",
)
MAY = {  # role of a process → services it may call, beside the catalogue
    "Engine/EngineRole": {"dynamodb", "kafka", "kafka-cluster", "s3", "kms", "ssm"},
    "MarketData/MarketDataRole": {"kinesis", "kms", "rds-db", "ssm"},
    "Ledger/LedgerRole": {"lambda", "rds-db"},
    "Ledger/MigratorRole": {"kms", "logs", "secretsmanager", "sqs"},
    "Gateway/RestRole": {"dynamodb", "elasticache", "kms", "lambda", "rds-db", "ssm"},
    "Gateway/FixRole": {"ssm"},
    "Gateway/WebSocketRole": {"dynamodb", "elasticache", "kms", "rds-db", "ssm", "logs"},
    "Migration/ImporterRole": {"dynamodb", "kms", "logs", "s3", "sqs", "ssm"},
    "Controls/AskRole": {"dynamodb", "events", "kms", "logs", "sqs", "ssm"},
    "Controls/BrakeRole": {"dynamodb", "events", "kms", "logs", "sqs", "ssm"},
    "Offboarding/ClerkRole": {"dynamodb", "events", "kms", "lambda", "logs", "sqs"},
    "Offboarding/BrokerRole": {"dynamodb", "kms", "logs", "sqs", "ssm"},
    "Offboarding/ExporterRole": {"dynamodb", "events", "kms", "logs", "rds-db", "s3", "sqs", "ssm"},
    "Offboarding/WriterRole": {"dynamodb", "kms", "logs", "rds-db", "s3", "sqs", "ssm"},
    "Notifications/NotifierRole": {"dynamodb", "kms", "logs", "sns", "sqs"},
    "Analytics/LakeDeliveryRole": {"glue", "kinesis", "kms", "logs", "s3"},
    "Surveillance/FollowerRole": {"dynamodb", "events", "kinesis", "kms", "logs", "s3", "sqs"},
    "Surveillance/SweeperRole": {"dynamodb", "events", "kms", "logs", "rds-db", "s3", "sqs", "ssm"},
    "Surveillance/RecorderRole": {"dynamodb", "events", "kms", "logs", "s3", "sqs"},
    "Surveillance/ScorerRole": {"dynamodb", "kinesis", "kms", "logs", "sqs"},
    "Surveillance/StreamJobRole": {"dynamodb", "ec2", "kinesis", "kms", "logs", "s3", "sqs"},
    "Analytics/AnalystReader": {"kms", "s3"},
    "Analytics/AnalystRole": {"athena", "glue", "kms", "s3"},
    "Analytics/CuratedJobRole": {"glue", "kms", "logs", "s3"},
    "Analytics/DashboardRole": {"athena", "glue", "kms", "s3"},
    "Analytics/TrainingRunner": {"kms", "s3"},
    "Analytics/TrainingStarter": {"iam", "sagemaker"},
    "Analytics/WarehouseRole": {"glue", "kms", "s3"},
    "Surveillance/ReviewerRole": {"dynamodb", "kms", "logs", "s3", "sqs"},
    "Reporting/FilerRole": {"dynamodb", "events", "kms", "logs", "rds-db", "s3", "sqs", "ssm"},
    "Reporting/ExporterRole": {"kms", "logs", "rds-db", "s3", "sqs"},
    "Reporting/CustomerRecordsRole": {"kms", "logs", "rds-db", "sqs", "ssm"},
    "Reporting/StatementsRole": {"kms", "logs", "rds-db", "s3", "sqs", "ssm"},
    "Reporting/PortfolioRole": {"kms", "logs", "rds-db", "sqs", "ssm"},
    "Reporting/ViewsRole": {"kms", "logs", "rds-db", "sqs"},
    "Reporting/Regulator": {"kms", "lambda", "s3"},
    "Reporting/DeliveryBourseRole": {"kms", "s3", "sqs"},
    "Reporting/DeliveryClearingRole": {"kms", "s3", "sqs"},
    "Reporting/DeliveryCourierRole": {"dynamodb", "kms", "logs", "s3", "sqs"},
    "Reporting/DeliveryWitnessRole": {"dynamodb", "kms", "logs", "sqs"},
}


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def statements(exchange: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy"):
        if policy.get("ManagedPolicyName") == f"bursa-{exchange.config.name}-boundary":
            continue  # grants nothing; `test_boundary.py` tells what it denies
        for statement in policy["PolicyDocument"]["Statement"]:
            yield path, statement


def test_no_permission_is_written_inline_or_taken_from_a_ready_made_policy(exchange: Any) -> None:
    assert list(exchange.of_type("AWS::IAM::Policy", "AWS::IAM::User", "AWS::IAM::Group")) == []
    for path, role in exchange.of_type("AWS::IAM::Role"):
        assert "Policies" not in role, path
        for policy in role.get("ManagedPolicyArns", []):
            assert any(name in exchange.text(policy) for name in SHARED), path


def test_every_role_is_taken_by_one_service(exchange: Any) -> None:
    for path, role in exchange.of_type("AWS::IAM::Role"):
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        if path.startswith("Reporting/Regulator"):  # people, of another account, with a second factor
            assert exchange.config.records.regulator_account in exchange.text(statement["Principal"]["AWS"])
            assert statement["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
            continue
        if found := re.match(r"Reporting/Delivery(Bourse|Clearing)Role", path):  # machines, of another account
            recipient = exchange.config.records.recipients[found[1].lower()]
            assert f":{recipient.account}:root" in exchange.text(statement["Principal"]["AWS"])
            assert statement["Condition"] == {"StringEquals": {"sts:ExternalId": recipient.external_id}}
            continue
        if path.startswith(OPERATORS):  # people of this account, with a second factor
            assert f":{exchange.config.account}:root" in exchange.text(statement["Principal"]["AWS"])
            assert statement["Condition"] == {"Bool": {"aws:MultiFactorAuthPresent": "true"}}
            continue
        assert list(statement["Principal"]) == ["Service"], path
        assert role["Description"], path


def test_no_action_has_a_star(exchange: Any) -> None:
    for path, statement in statements(exchange):
        assert not [action for action in listed(statement["Action"]) if "*" in action], path


def test_a_star_in_a_resource_stands_only_where_it_must(exchange: Any) -> None:
    for path, statement in statements(exchange):
        for resource in listed(statement["Resource"]):
            text = exchange.text(resource)
            if text == "*":
                assert path.startswith(MARKED) or set(listed(statement["Action"])) <= STAR_NEEDED, path
            elif path.startswith(ASKS_SIGNERS) and ":kms:" in text:
                condition = statement["Condition"]["StringEquals"]
                name = f"bursa-{exchange.config.name}-signing"
                assert condition["kms:EncryptionContext:aws:dynamodb:tableName"] == name
                assert condition["kms:ViaService"].startswith("dynamodb.")
            elif "*" in text:
                assert text.startswith(OWN_NAMES) or path.startswith((*COPIER, *MARKED)), f"{path}: {text}"


def test_each_process_may_call_what_it_needs_and_nothing_else(exchange: Any) -> None:
    granted: dict[str, set[str]] = {}
    for path, statement in statements(exchange):
        role = path.split("Grants", maxsplit=1)[0]
        granted.setdefault(role, set()).update(action.split(":")[0] for action in listed(statement["Action"]))
    assert {role: services for role, services in granted.items() if role in MAY} == MAY


def test_gateways_only_look_api_keys_up(exchange: Any) -> None:
    actions = {
        (path.split("Grants", maxsplit=1)[0], action, exchange.text(resource).split(".Arn")[0])
        for path, statement in statements(exchange)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if path.startswith("Gateway/") and ("dynamodb" in action or "lambda" in action)
    }
    assert {(role, action) for role, action, resource in actions if "ApiKeys" in resource} == {
        ("Gateway/RestRole", "dynamodb:GetItem"),
        ("Gateway/WebSocketRole", "dynamodb:GetItem"),
    }
    others = {(role, action) for role, action, resource in actions if "ApiKeys" not in resource}
    assert others == {
        ("Gateway/RestRole", "dynamodb:PutItem"),  # an address, which the watcher works out for itself before it counts
        ("Gateway/RestRole", "dynamodb:Query"),
        ("Gateway/RestRole", "lambda:InvokeFunction"),
    }


def test_a_gateway_lists_deposits_and_withdrawals_and_hands_in_requests_and_no_more(exchange: Any) -> None:
    granted = {
        (action, exchange.text(resource))
        for path, statement in statements(exchange)
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
        if path.startswith("Gateway/RestRole")
        and action in {"dynamodb:Query", "lambda:InvokeFunction", "dynamodb:PutItem"}
    }
    assert len(granted) == 4
    assert sum(action == "dynamodb:Query" and name.endswith("/index/by-account") for action, name in granted) == 2
    assert [name for action, name in granted if action == "lambda:InvokeFunction" and "Door" in name]
    assert [name for action, name in granted if action == "dynamodb:PutItem" and "Addresses" in name]


def test_only_the_engine_touches_leases(exchange: Any) -> None:
    holders = {
        path.split("Grants", maxsplit=1)[0]: set(listed(statement["Action"]))
        for path, statement in statements(exchange)
        if any(exchange.text(resource).startswith("<Leases") for resource in listed(statement["Resource"]))
    }
    assert holders == {"Engine/EngineRole": {"dynamodb:GetItem", "dynamodb:UpdateItem"}}


def test_only_gateways_can_open_api_secrets(exchange: Any) -> None:
    openers = {
        path.split("Grants", maxsplit=1)[0]
        for path, statement in statements(exchange)
        if any("KeysApiSecrets" in exchange.text(resource) for resource in listed(statement["Resource"]))
    }
    assert openers == {"Gateway/RestRole", "Gateway/WebSocketRole"}


def test_no_engine_can_delete_a_snapshot_or_a_command(exchange: Any) -> None:
    actions = {
        action
        for path, statement in statements(exchange)
        for action in listed(statement["Action"])
        if path.startswith("Engine/")
    }
    assert not [action for action in actions if "delete" in action.lower()]


def test_a_key_is_open_to_others_only_under_a_condition(exchange: Any) -> None:
    roots = [f":iam::{account}:root" for account in exchange.config.accounts.distinct().values()]
    for path, key in exchange.of_type("AWS::KMS::Key"):
        if path.startswith("Custody/WalletKeys"):
            continue  # test_custody.py reads them word by word
        for statement in key["KeyPolicy"]["Statement"]:
            if any(root in str(statement["Principal"]) for root in roots):
                continue
            assert statement["Condition"], path
            if statement["Principal"] == {"AWS": "*"}:
                caller = statement["Condition"]["StringEquals"]["kms:CallerAccount"]
                assert caller in exchange.config.accounts.distinct().values(), path
                assert "AWSServiceRoleForAutoScaling" in str(statement["Condition"]["StringEquals"]), path
