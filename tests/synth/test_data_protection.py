"""What is stored: under our keys, kept where it must be kept, logged for a set time."""

import json
import re
from typing import Any

KEY_OF = {  # type → where its key is named
    "AWS::DynamoDB::GlobalTable": ("Replicas", 0, "SSESpecification", "KMSMasterKeyId"),
    "AWS::ECS::Cluster": ("Configuration", "ManagedStorageConfiguration", "FargateEphemeralStorageKmsKeyId"),
    "AWS::ElastiCache::ServerlessCache": ("KmsKeyId",),
    "AWS::Events::Archive": ("KmsKeyIdentifier",),
    "AWS::Events::Connection": ("KmsKeyIdentifier",),
    "AWS::Events::EventBus": ("KmsKeyIdentifier",),
    "AWS::Kinesis::Stream": ("StreamEncryption", "KeyId"),
    "AWS::Logs::LogGroup": ("KmsKeyId",),
    "AWS::MSK::Cluster": ("EncryptionInfo", "EncryptionAtRest", "DataVolumeKMSKeyId"),
    "AWS::RDS::DBCluster": ("KmsKeyId",),
    "AWS::SNS::Topic": ("KmsMasterKeyId",),
    "AWS::SQS::Queue": ("KmsMasterKeyId",),
    "AWS::SecretsManager::Secret": ("KmsKeyId",),
    "AWS::EC2::LaunchTemplate": ("LaunchTemplateData", "BlockDeviceMappings", 0, "Ebs", "KmsKeyId"),
    "AWS::S3::Bucket": (
        "BucketEncryption",
        "ServerSideEncryptionConfiguration",
        0,
        "ServerSideEncryptionByDefault",
        "KMSMasterKeyID",
    ),
}
ACCESS_RECORDS = ("Foundation/AccessLogs", "Nodes/AccessLogs")
"""S3 and load balancers write their records only to a bucket under an S3-managed key."""

FROZEN = {  # ids of what holds data: a changed id makes an empty twin of it
    "AWS::DynamoDB::GlobalTable": {
        "Controls/Register34FE4340",
        "Custody/SigningTableA83DCD09",
        "Data/ApiKeysTable10D26ED3",
        "Deposits/Addresses02DFC07F",
        "Deposits/Deposits30BC3C58",
        "Engine/LeasesTableFEA91EF2",
        "Functions/PlatformIdempotencyTable6A0EAFE6",
        "Gateway/FixSequences38FBF740",
        "Liquidity/Obligations4463FDA2",
        "Migration/RunsE45A2291",
        "Offboarding/Register34FE4340",
        "Reporting/DeliveryRegisterE3191652",
        "Onboarding/ApplicationsTable71576833",
        "Onboarding/LocksTable84FB9352",
        "Surveillance/Cases80582F3E",
        "Surveillance/MinutesE85B7CF6",
        "Surveillance/Owners0FE414D7",
        "Surveillance/WatchesEBAC8EBF",
        "Withdrawals/Register34FE4340",
    },
    "AWS::Cognito::UserPool": {"Onboarding/CustomersPool6FDCCC04"},
    "AWS::SecretsManager::Secret": {
        "Analytics/TimeSeriesAdministrator1D08A4E8",
        "Connectors/BankSecret472E5F20",
        "Connectors/KycSecret01907FDE",
        "Connectors/ScreeningSecretDCE71F66",
    },
    "AWS::Kinesis::Stream": {"Data/TradesStream2434DEFC"},
    "AWS::KMS::Key": {
        "Audit/KeysAudit0EC237E3",
        "Audit/OperatorsKeyE687A59E",
        "Backup/KeysVaultBAD92071",
        "Canary/Key961B73FD",
        "Edge/KeysMessagesE856B267",
        "Edge/KeysZone351ED2DD",
        "EdgeStore/KeysEdge980EF3A1",
        "Custody/KeysDataA2F7C5E6",
        "Custody/KeysLogs7981C88C",
        "Custody/KeysMessagesE856B267",
        "Custody/WalletKeysHot060F2670",
        "Custody/WalletKeysWarmB69470DA",
        "Foundation/KeysApiSecrets3E1F2AE6",
        "Nodes/KeysDataA2F7C5E6",
        "Nodes/KeysLogs7981C88C",
        "Nodes/KeysMessagesE856B267",
        "Foundation/KeysDataA2F7C5E6",
        "Foundation/KeysLogs7981C88C",
        "Foundation/KeysMessagesE856B267",
        "Security/KeysSecurity5F4797D1",
        "SecurityAudit/KeysSecurity5F4797D1",
        "SecurityNodes/KeysSecurity5F4797D1",
        "SecurityNodes/OperatorsKeyE687A59E",
        "SecurityWallet/KeysSecurity5F4797D1",
        "SecurityWallet/OperatorsKeyE687A59E",
        "Foundation/KeysRecordsC94E819F",
        "Foundation/KeysCopies4BFCE826",
        "Web/KeysBundle16F639F6",
        "Web/RecoveryCopiesKeysA791FE91",
        "Web/OperatorsKeyE687A59E",
    },
    "AWS::MSK::Cluster": {"Data/JournalProvisionedFEF74248"},
    "AWS::RDS::DBCluster": {"Data/DatabaseCluster5B53A178"},
    "AWS::S3::Bucket": {
        "Audit/ArchiveBucket49F1AC64",
        "Audit/ConfigurationBucket4C9EE6EF",
        "Analytics/CuratedDaysD4546DC5",
        "Analytics/LakeAnswersC98286ED",
        "Analytics/LakeRaw8A880B75",
        "EdgeStore/LogsBucket5C52C3D2",
        "EdgeStore/SiteCopyBucketD70FEA56",
        "Engine/ArchiveDA4CB258",
        "Engine/SnapshotsBucket4B2233F7",
        "Foundation/AccessLogs8B620ECA",
        "Foundation/CopiesBucket58B57C3D",
        "Nodes/AccessLogs8B620ECA",
        "Migration/LandingF95672E9",
        "Offboarding/TransferOutC254E1AE",
        "Onboarding/Documents7E5B2978",
        "Reporting/LedgerB7379752",
        "Reporting/Reports65402A0A",
        "Surveillance/Evidence4CC26D68",
        "Web/ScreenBundles36957968",
    },
}


def test_everything_stored_is_under_a_key_of_ours(exchange: Any) -> None:
    seen = set()
    for path, resource in exchange.resources():
        where = KEY_OF.get(resource["Type"])
        if where is None or path.startswith(ACCESS_RECORDS):
            continue
        value: Any = resource["Properties"]
        for step in where:
            assert isinstance(value, list) or step in value, f"{path} names no key"
            value = value[step]
        assert re.search("Keys|OperatorsKey", exchange.text(value)), f"{path} is under {exchange.text(value)}"
        seen.add(resource["Type"])
    assert KEY_OF.keys() - seen <= {"AWS::MSK::Cluster", "AWS::SecretsManager::Secret"}


def test_the_one_bucket_under_another_key_is_encrypted_too(exchange: Any) -> None:
    buckets = [bucket for path, bucket in exchange.of_type("AWS::S3::Bucket") if path.startswith(ACCESS_RECORDS)]
    assert len(buckets) == len(ACCESS_RECORDS)
    for bucket in buckets:
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}


def test_the_key_of_partners_keys_bears_the_tag_without_which_eventbridge_may_not_use_it(exchange: Any) -> None:
    keys = [key for path, key in exchange.of_type("AWS::KMS::Key") if path.startswith("Foundation/KeysData")]
    assert [{"Key": "EventBridgeApiDestinations", "Value": "true"} in key["Tags"] for key in keys] == [True]


def test_keys_turn_every_year(exchange: Any) -> None:
    for path, key in exchange.of_type("AWS::KMS::Key"):
        assert key.get("KeyUsage") == "SIGN_VERIFY" or key["EnableKeyRotation"] is True, path


def test_buckets_are_private_versioned_and_refuse_plain_http(exchange: Any) -> None:
    buckets = dict(exchange.of_type("AWS::S3::Bucket"))
    for path, bucket in buckets.items():
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}, path
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}, path
    refusing = [
        path
        for path, policy in exchange.of_type("AWS::S3::BucketPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    ]
    assert len(refusing) == len(buckets)


def test_log_groups_have_a_retention(exchange: Any) -> None:
    groups = list(exchange.of_type("AWS::Logs::LogGroup"))
    assert len(groups) >= 8
    assert {group["RetentionInDays"] for _, group in groups} == {exchange.config.log_retention_days}


def test_every_process_logs_to_a_group_of_the_template(exchange: Any) -> None:
    groups = {path.split("/")[1] for path, _ in exchange.of_type("AWS::Logs::LogGroup")}
    for path, task in exchange.of_type("AWS::ECS::TaskDefinition"):
        for container in task["ContainerDefinitions"]:
            options = container["LogConfiguration"]["Options"]
            assert exchange.text(options["awslogs-group"]).strip("<>") in groups, path
            assert options["mode"] == "non-blocking", path


def test_in_prod_what_holds_data_outlives_its_stack(prod: Any) -> None:
    for path, resource in prod.resources():
        if resource["Type"] in FROZEN or resource["Type"] in {"AWS::Logs::LogGroup", "AWS::SQS::Queue"}:
            assert resource["DeletionPolicy"] == "Retain", path
            assert resource["UpdateReplacePolicy"] == "Retain", path


def test_ids_of_what_holds_data_never_change(prod: Any) -> None:
    found: dict[str, set[str]] = {}
    for path, resource in prod.resources():
        if resource["Type"] in FROZEN:
            found.setdefault(resource["Type"], set()).add(path)
    assert found == FROZEN


def test_in_prod_no_stack_can_be_deleted_by_mistake(exchanges: dict[str, Any]) -> None:
    for exchange in exchanges.values():
        manifest = json.loads((exchange.folder / "manifest.json").read_text())
        protected = [
            artifact["properties"].get("terminationProtection", False)
            for artifact in manifest["artifacts"].values()
            if artifact["type"] == "aws:cloudformation:stack"
        ]
        assert set(protected) == {exchange.config.name == "prod"}


def test_the_database_is_protected_spread_and_recoverable(exchange: Any) -> None:
    ((_, cluster),) = exchange.of_type("AWS::RDS::DBCluster")
    assert cluster["DeletionProtection"] is True
    assert cluster["StorageEncrypted"] is True
    assert cluster["BackupRetentionPeriod"] == exchange.config.database.backup_retention_days
    assert cluster["EnableCloudwatchLogsExports"] == ["postgresql"]
    instances = list(exchange.of_type("AWS::RDS::DBInstance"))
    assert len(instances) == 1 + exchange.config.database.reader_count
    assert not any(instance["PubliclyAccessible"] for _, instance in instances)
    ((_, parameters),) = exchange.of_type("AWS::RDS::DBClusterParameterGroup")
    assert parameters["Parameters"]["rds.force_ssl"] == "1"
    names = {
        exchange.text(group["LogGroupName"])
        for _, group in exchange.of_type("AWS::Logs::LogGroup")
        if "LogGroupName" in group
    }
    assert f"/aws/rds/cluster/{cluster['DBClusterIdentifier']}/postgresql" in names
    assert f"/aws/rds/proxy/{cluster['DBClusterIdentifier']}-proxy" in names


def test_only_the_owner_of_the_database_has_a_password_and_aurora_changes_it(exchange: Any) -> None:
    ((_, cluster),) = exchange.of_type("AWS::RDS::DBCluster")
    assert cluster["EnableIAMDatabaseAuthentication"] is True
    assert cluster["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in cluster
    assert "KeysData" in exchange.text(cluster["MasterUserSecret"]["KmsKeyId"])
    readers = {
        path.split("Grants", maxsplit=1)[0]
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        if "MasterUserSecret" in json.dumps(policy)
    }
    assert readers == {"Ledger/MigratorRole"}


def test_the_proxy_signs_in_as_its_client_and_only_to_read(exchange: Any) -> None:
    ((_, proxy),) = exchange.of_type("AWS::RDS::DBProxy")
    assert proxy["DefaultAuthScheme"] == "IAM_AUTH"
    assert proxy["RequireTLS"] is True
    assert "Auth" not in proxy  # no secret
    users = {
        (path.split("Grants", maxsplit=1)[0], exchange.text(resource).rpartition("/")[2])
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement.get("Action") == "rds-db:connect"
        for resource in (statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]])
    }
    assert {user for path, user in users if path == "Data/DatabaseProxyRole"} == {"ledger_reader", "regulator"}
    assert {path for path, user in users if user == "ledger_writer"} == {"Ledger/LedgerRole"}
    # Functions answer the supervisor, as no route leads it to the proxy itself.
    as_regulator = {path for path, user in users if user == "regulator"} - {"Data/DatabaseProxyRole"}
    assert as_regulator == {"Reporting/CustomerRecordsRole", "Reporting/ViewsRole"}


def test_the_journal_takes_identities_over_tls_and_keeps_commands_on_two_replicas(exchanges: dict[str, Any]) -> None:
    ((_, serverless),) = exchanges["dev"].of_type("AWS::MSK::ServerlessCluster")
    assert serverless["ClientAuthentication"]["Sasl"]["Iam"]["Enabled"] is True
    for name in ("staging", "prod"):
        ((_, cluster),) = exchanges[name].of_type("AWS::MSK::Cluster")
        assert cluster["ClientAuthentication"]["Sasl"]["Iam"]["Enabled"] is True
        assert cluster["ClientAuthentication"]["Unauthenticated"]["Enabled"] is False
        assert cluster["EncryptionInfo"]["EncryptionInTransit"] == {"ClientBroker": "TLS", "InCluster": True}
        assert cluster["NumberOfBrokerNodes"] == 3
        ((_, settings),) = exchanges[name].of_type("AWS::MSK::Configuration")
        lines = settings["ServerProperties"].splitlines()
        assert {"min.insync.replicas=2", "unclean.leader.election.enable=false"} <= set(lines)


def test_events_of_others_are_refused_and_lost_ones_are_kept(exchange: Any) -> None:
    ((_, policy),) = exchange.of_type("AWS::Events::EventBusPolicy")
    assert policy["Statement"]["Effect"] == "Deny"
    assert policy["Statement"]["Condition"] == {"StringNotEquals": {"aws:PrincipalAccount": exchange.config.account}}
    ((_, bus),) = exchange.of_type("AWS::Events::EventBus")
    assert "Undelivered" in exchange.text(bus["DeadLetterConfig"]["Arn"])
    ((_, queue_policy),) = [
        item for item in exchange.of_type("AWS::SQS::QueuePolicy") if "EventsUndelivered" in item[0]
    ]
    allowed = [s for s in queue_policy["PolicyDocument"]["Statement"] if s["Effect"] == "Allow"]
    assert [s["Principal"] for s in allowed] == [{"Service": "events.amazonaws.com"}]
    assert "EventsBus" in exchange.text(allowed[0]["Condition"]["ArnEquals"]["aws:SourceArn"])


def test_records_are_copied_by_s3_as_they_are_written(exchange: Any) -> None:
    """To one bucket under another key; a deletion is not carried over, and a lock travels with its object."""
    buckets = dict(exchange.of_type("AWS::S3::Bucket"))
    (copies,) = [bucket for path, bucket in buckets.items() if path.startswith("Foundation/CopiesBucket")]
    assert copies["ObjectLockEnabled"] is True
    copied = {}
    for path, bucket in buckets.items():
        if path.startswith(
            (*ACCESS_RECORDS, "EdgeStore/Logs", "Audit/Configuration")
        ):  # into the archive, see `test_perimeter.py`
            continue
        if rules := bucket.get("ReplicationConfiguration"):
            (rule,) = rules["Rules"]
            assert rule["Status"] == "Enabled", path
            assert rule["DeleteMarkerReplication"] == {"Status": "Disabled"}, path
            assert rule["SourceSelectionCriteria"] == {"SseKmsEncryptedObjects": {"Status": "Enabled"}}, path
            assert "CopiesBucket" in exchange.text(rule["Destination"]["Bucket"]), path
            key = rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"]
            assert "KeysCopies" in exchange.text(key), path
            copied[path.split("/")[-1][:-8]] = rule["Filter"].get("Prefix", "")
    assert copied == {
        "Archive": "journal/",
        "Documents": "",
        "Evidence": "cases/",
        "CuratedDays": "curated/",
        "LakeRaw": "trades/",
        "Ledger": "postings/",
        "Reports": "",
        "TransferOut": "",
    }


def test_s3_alone_copies_and_only_from_stores_of_this_account(exchange: Any) -> None:
    ((_, role),) = [item for item in exchange.of_type("AWS::IAM::Role") if item[0].startswith("Foundation/CopiesRole")]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "s3.amazonaws.com"}
    ((_, policy),) = [
        item for item in exchange.of_type("AWS::IAM::ManagedPolicy") if item[0].startswith("Foundation/CopiesRole")
    ]
    writes = {}
    for statement in policy["PolicyDocument"]["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        if any(action.startswith("s3:Get") for action in actions):
            assert statement["Condition"] == {"StringEquals": {"aws:ResourceAccount": exchange.config.account}}
        writes |= {action: exchange.text(statement["Resource"]) for action in actions if "Replicate" in action}
    assert set(writes) == {"s3:ReplicateObject", "s3:ReplicateTags"}
    assert all("CopiesBucket" in where for where in writes.values())
