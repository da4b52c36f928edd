"""Each provider: create, read back; and a property that is not what the template wanted is refused."""

import json
from dataclasses import replace
from typing import Any, Final

import pytest
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER
from hypothesis import given
from hypothesis import strategies as st

from local.cloud import Cloud
from local.deploy import _load_providers
from local.providers import REGISTRY, DroppedPropertyError, Placed, ProviderError, Wanted, check, same
from tests.local.world import ACCOUNT, REGION

_load_providers()

ALLOW: Final = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
DENY: Final = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "s3:*", "Resource": "*"}]}
TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ecs-tasks.amazonaws.com"}}],
}
KEY_ARN: Final = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/00000000-0000-4000-8000-000000000000"
OPEN_BUCKET: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/*"},
        {
            "Effect": "Deny",
            "Principal": "*",
            "Action": "s3:*",
            "Resource": "arn:aws:s3:::b/*",
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    ],
}
_TABLE: Final = {
    "AttributeDefinitions": [
        {"AttributeName": "k", "AttributeType": "S"},
        {"AttributeName": "n", "AttributeType": "N"},
    ],
    "KeySchema": [{"AttributeName": "k", "KeyType": "HASH"}],
    "BillingMode": "PAY_PER_REQUEST",
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "by_n",
            "KeySchema": [{"AttributeName": "n", "KeyType": "HASH"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
    "StreamSpecification": {"StreamViewType": "NEW_IMAGE"},
    "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": True},
}

# For each type: properties, and a property that is then claimed to have been wanted otherwise.
CASES: Final[dict[str, tuple[dict[str, Any], tuple[str, Any]]]] = {
    "AWS::KMS::Key": (
        {"KeyPolicy": ALLOW, "Description": "d", "EnableKeyRotation": True, "PendingWindowInDays": 30},
        ("EnableKeyRotation", False),
    ),
    "AWS::KMS::Alias": ({"AliasName": "alias/a", "TargetKeyId": "<key>"}, ("TargetKeyId", "other")),
    "AWS::Kinesis::Stream": (
        {
            "StreamModeDetails": {"StreamMode": "ON_DEMAND"},
            "RetentionPeriodHours": 48,
            "StreamEncryption": {"EncryptionType": "KMS", "KeyId": KEY_ARN},
        },
        ("RetentionPeriodHours", 24),
    ),
    "AWS::SQS::Queue": (
        {
            "KmsMasterKeyId": KEY_ARN,
            "MessageRetentionPeriod": 1209600,
            "RedrivePolicy": {"deadLetterTargetArn": "<queue arn>", "maxReceiveCount": 3},
            "VisibilityTimeout": 30,
        },
        ("VisibilityTimeout", 31),
    ),
    "AWS::SQS::QueuePolicy": ({"Queues": ["<queue>"], "PolicyDocument": ALLOW}, ("PolicyDocument", DENY)),
    "AWS::SNS::Topic": ({"KmsMasterKeyId": KEY_ARN, "DisplayName": "d"}, ("DisplayName", "e")),
    "AWS::SNS::TopicPolicy": ({"Topics": ["<topic>"], "PolicyDocument": ALLOW}, ("PolicyDocument", DENY)),
    "AWS::SNS::Subscription": (
        {
            "TopicArn": "<topic>",
            "Protocol": "sqs",
            "Endpoint": "<queue arn>",
            "RawMessageDelivery": True,
            "FilterPolicy": {"kind": ["a"]},
        },
        ("FilterPolicy", {"kind": ["b"]}),
    ),
    "AWS::SSM::Parameter": (
        {"Name": "/p/catalogue", "Type": "String", "Value": "v", "Tier": "Advanced", "Description": "d"},
        ("Value", "w"),
    ),
    "AWS::SecretsManager::Secret": (
        {"Description": "d", "KmsKeyId": KEY_ARN, "GenerateSecretString": {"PasswordLength": 20}},
        ("Description", "e"),
    ),
    "AWS::SecretsManager::SecretTargetAttachment": (
        {"SecretId": "<secret>", "TargetId": "cluster", "TargetType": "AWS::RDS::DBCluster"},
        ("TargetId", "another"),
    ),
    "AWS::SecretsManager::ResourcePolicy": (
        {"SecretId": "<secret>", "ResourcePolicy": ALLOW, "BlockPublicPolicy": True},
        ("ResourcePolicy", DENY),
    ),
    "AWS::S3::Bucket": (
        {
            "BucketEncryption": {
                "ServerSideEncryptionConfiguration": [
                    {
                        "BucketKeyEnabled": True,
                        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY_ARN},
                    }
                ]
            },
            "LifecycleConfiguration": {
                "Rules": [
                    {
                        "Id": "old",
                        "Status": "Enabled",
                        "NoncurrentVersionExpiration": {"NoncurrentDays": 90},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
                        "ExpirationInDays": 400,
                        "Transitions": [{"StorageClass": "GLACIER", "TransitionInDays": 30}],
                        "NoncurrentVersionTransitions": [{"StorageClass": "GLACIER", "TransitionInDays": 5}],
                    },
                    {
                        "Id": "marked",
                        "Status": "Enabled",
                        "ExpirationInDays": 1,
                        "TagFilters": [{"Key": "retention", "Value": "over"}],
                    },
                ]
            },
            "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
            "PublicAccessBlockConfiguration": {
                "BlockPublicAcls": True,
                "BlockPublicPolicy": True,
                "IgnorePublicAcls": True,
                "RestrictPublicBuckets": True,
            },
            "VersioningConfiguration": {"Status": "Enabled"},
            "ObjectLockEnabled": True,
            "ObjectLockConfiguration": {
                "ObjectLockEnabled": "Enabled",
                "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 5}},
            },
            "CorsConfiguration": {"CorsRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAge": 5}]},
            "LoggingConfiguration": {"DestinationBucketName": "logs"},
        },
        ("PublicAccessBlockConfiguration", {"BlockPublicAcls": False}),
    ),
    "AWS::S3::BucketPolicy": (
        {"Bucket": "<bucket>", "PolicyDocument": OPEN_BUCKET},
        ("PolicyDocument", {**OPEN_BUCKET, "Statement": [{**OPEN_BUCKET["Statement"][0], "Effect": "Deny"}]}),
    ),
    "AWS::DynamoDB::GlobalTable": (
        {
            **_TABLE,
            "Replicas": [
                {
                    "Region": REGION,
                    "DeletionProtectionEnabled": True,
                    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                    "SSESpecification": {"KMSMasterKeyId": KEY_ARN},
                }
            ],
            "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS"},
        },
        ("TimeToLiveSpecification", {"AttributeName": "other", "Enabled": True}),
    ),
    "AWS::DynamoDB::Table": (
        {
            **_TABLE,
            "DeletionProtectionEnabled": True,
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "SSESpecification": {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY_ARN},
        },
        ("PointInTimeRecoverySpecification", {"PointInTimeRecoveryEnabled": False}),
    ),
    "AWS::Events::EventBus": (
        {
            "Name": "bus-made",
            "Description": "d",
            "KmsKeyIdentifier": KEY_ARN,
            "DeadLetterConfig": {"Arn": "<queue arn>"},
        },
        ("DeadLetterConfig", {"Arn": "other"}),
    ),
    "AWS::Events::EventBusPolicy": (
        {"EventBusName": "<bus>", "StatementId": "own", "Statement": {**DENY["Statement"][0], "Principal": "*"}},
        ("Statement", {**ALLOW["Statement"][0], "Principal": "*"}),
    ),
    "AWS::Events::Archive": (
        {
            "SourceArn": "<bus arn>",
            "RetentionDays": 7,
            "Description": "d",
            "EventPattern": {"account": [ACCOUNT]},
            "KmsKeyIdentifier": KEY_ARN,
        },
        ("EventPattern", {"account": ["other"]}),
    ),
    "AWS::Events::Rule": (
        {
            "EventBusName": "<bus>",
            "EventPattern": {"source": ["bursa"]},
            "State": "ENABLED",
            "Targets": [
                {"Id": "logs", "Arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:g"},
                {"Id": "queue", "Arn": "<queue arn>"},
            ],
        },
        ("EventPattern", {"source": ["bursar"]}),
    ),
    "AWS::IAM::Role": (
        {
            "AssumeRolePolicyDocument": TRUST,
            "Description": "d",
            "ManagedPolicyArns": ["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"],
            "Policies": [{"PolicyName": "inline", "PolicyDocument": ALLOW}],
        },
        ("Policies", [{"PolicyName": "inline", "PolicyDocument": DENY}]),
    ),
    "AWS::IAM::Policy": (
        {"PolicyName": "grants", "PolicyDocument": ALLOW, "Roles": ["<role>"]},
        ("PolicyDocument", DENY),
    ),
    "AWS::IAM::ManagedPolicy": (
        {"PolicyDocument": ALLOW, "Roles": ["<role>"], "Description": "", "Path": "/"},
        ("PolicyDocument", DENY),
    ),
    "AWS::IAM::InstanceProfile": ({"Roles": ["<role>"]}, ("Roles", ["other"])),
    "AWS::Logs::LogGroup": (
        {"LogGroupName": "/g", "RetentionInDays": 30, "KmsKeyId": KEY_ARN},
        ("RetentionInDays", 90),
    ),
    "AWS::Logs::MetricFilter": (
        {
            "LogGroupName": "<log group>",
            "FilterPattern": '{ $.level = "ERROR" }',
            "MetricTransformations": [{"MetricName": "errors", "MetricNamespace": "bursa", "MetricValue": "1"}],
        },
        ("FilterPattern", '{ $.level = "WARNING" }'),
    ),
    "AWS::ECS::Cluster": (
        {"ClusterSettings": [{"Name": "containerInsights", "Value": "enhanced"}]},
        ("ClusterSettings", [{"Name": "containerInsights", "Value": "disabled"}]),
    ),
    "AWS::ECS::TaskDefinition": (
        {
            "Family": "engine",
            "Cpu": "1024",
            "Memory": "4096",
            "NetworkMode": "awsvpc",
            "RequiresCompatibilities": ["FARGATE"],
            "RuntimePlatform": {"CpuArchitecture": "ARM64", "OperatingSystemFamily": "LINUX"},
            "ContainerDefinitions": [
                {
                    "Name": "Process",
                    "Image": "i",
                    "Essential": True,
                    "Command": ["python", "-m", "runtime.engine.main"],
                    "Environment": [{"Name": "SERVICE", "Value": "engine"}],
                    "PortMappings": [{"ContainerPort": 7001, "Protocol": "tcp"}],
                    "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-group": "g", "mode": "x"}},
                }
            ],
        },
        ("ContainerDefinitions", [{"Environment": [{"Name": "SERVICE", "Value": "another"}]}]),
    ),
    "AWS::ECS::Service": (
        {
            "Cluster": "<cluster>",
            "TaskDefinition": "<task>",
            "DesiredCount": 2,
            "LaunchType": "FARGATE",
            "ServiceRegistries": [{"RegistryArn": "arn:aws:servicediscovery:r:a:service/srv-1"}],
            "EnableECSManagedTags": True,
        },
        ("DesiredCount", 1),
    ),
    "AWS::ServiceDiscovery::PrivateDnsNamespace": (
        {"Name": "made.internal", "Vpc": "vpc-2", "Description": "d"},
        ("Name", "other.internal"),
    ),
    "AWS::ServiceDiscovery::Service": (
        {
            "Name": "engine",
            "NamespaceId": "<namespace>",
            "DnsConfig": {"DnsRecords": [{"TTL": 5, "Type": "A"}], "RoutingPolicy": "MULTIVALUE"},
        },
        ("DnsConfig", {"DnsRecords": [{"TTL": 60, "Type": "A"}]}),
    ),
    "AWS::CloudWatch::Alarm": (
        {
            "ComparisonOperator": "GreaterThanThreshold",
            "EvaluationPeriods": 3,
            "DatapointsToAlarm": 2,
            "Threshold": 1.5,
            "TreatMissingData": "notBreaching",
            "AlarmActions": ["<topic>"],
            "Metrics": [
                {"Id": "rate", "Expression": "m1*100", "Label": "rate"},
                {
                    "Id": "m1",
                    "ReturnData": False,
                    "MetricStat": {"Metric": {"MetricName": "x", "Namespace": "n"}, "Period": 60, "Stat": "Sum"},
                },
            ],
        },
        ("Threshold", 2),
    ),
    "AWS::CloudWatch::Dashboard": ({"DashboardBody": '{"widgets": []}'}, ("DashboardBody", '{"widgets": [1]}')),
    "AWS::Route53::HostedZone": ({"Name": "bursa.example"}, ("Name", "other.example")),
    "AWS::Route53::HealthCheck": (
        {"HealthCheckConfig": {"Type": "HTTPS", "FullyQualifiedDomainName": "x.example", "Port": 443}},
        ("HealthCheckConfig", {"Type": "HTTPS", "FullyQualifiedDomainName": "y.example", "Port": 443}),
    ),
    "AWS::Lambda::Function": (
        {
            "Architectures": ["arm64"],
            "Code": {"S3Bucket": "assets", "S3Key": "a.zip"},
            "Environment": {"Variables": {"SERVICE": "surveillance"}},
            "Handler": "runtime.surveillance.handler.handle",
            "KmsKeyArn": KEY_ARN,
            "MemorySize": 256,
            "ReservedConcurrentExecutions": 2,
            "Role": "<any role>",
            "Runtime": "python3.13",
            "Timeout": 30,
            "TracingConfig": {"Mode": "Active"},
        },
        ("Environment", {"Variables": {"SERVICE": "other"}}),
    ),
    "AWS::Lambda::LayerVersion": (
        {"Content": {"S3Bucket": "assets", "S3Key": "l.zip"}, "CompatibleRuntimes": ["python3.13"], "Description": "d"},
        ("Description", "e"),
    ),
    "AWS::Lambda::Version": ({"FunctionName": "<function>", "Description": "d"}, ("FunctionName", "other")),
    "AWS::Lambda::Alias": (
        {"FunctionName": "<function>", "FunctionVersion": "<version>", "Name": "live", "Description": "d"},
        ("Description", "e"),
    ),
    "AWS::Lambda::Permission": (
        {
            "Action": "lambda:InvokeFunction",
            "FunctionName": "<function>",
            "Principal": "events.amazonaws.com",
            "SourceArn": "<bus arn>",
        },
        ("Principal", "s3.amazonaws.com"),
    ),
    "AWS::Lambda::Url": ({"TargetFunctionArn": "<function arn>", "AuthType": "AWS_IAM"}, ("AuthType", "NONE")),
    "AWS::Lambda::EventInvokeConfig": (
        {
            "FunctionName": "<function>",
            "Qualifier": "$LATEST",
            "MaximumRetryAttempts": 1,
            "DestinationConfig": {"OnFailure": {"Destination": "<queue arn>"}},
        },
        ("MaximumRetryAttempts", 2),
    ),
    "AWS::Lambda::EventSourceMapping": (
        {
            "BatchSize": 7,
            "BisectBatchOnFunctionError": True,
            "EventSourceArn": "<queue arn>",
            "FunctionName": "<function>",
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        },
        ("BatchSize", 8),
    ),
    "AWS::StepFunctions::StateMachine": (
        {
            "DefinitionString": '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": "${x}", "End": true}}}',
            "DefinitionSubstitutions": {"x": "y"},
            "RoleArn": "<any role>",
            "TracingConfiguration": {"Enabled": True},
        },
        ("DefinitionSubstitutions", {"x": "z"}),
    ),
    "AWS::StepFunctions::Activity": ({"Name": "act"}, ("Name", "other")),
    "AWS::Scheduler::ScheduleGroup": ({"Name": "jobs"}, ("Name", "other")),
    "AWS::Scheduler::Schedule": (
        {
            "Name": "daily",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ScheduleExpression": "cron(0 17 * * ? *)",
            "ScheduleExpressionTimezone": "Asia/Jakarta",
            "State": "ENABLED",
            "Target": {"Arn": "<queue arn>", "RoleArn": "<any role>", "RetryPolicy": {"MaximumRetryAttempts": 2}},
        },
        ("ScheduleExpression", "rate(1 day)"),
    ),
    "AWS::Events::Connection": (
        {
            "AuthorizationType": "API_KEY",
            "AuthParameters": {"ApiKeyAuthParameters": {"ApiKeyName": "k", "ApiKeyValue": "v"}},
            "Description": "d",
        },
        ("Description", "e"),
    ),
    "AWS::Events::ApiDestination": (
        {
            "ConnectionArn": "<connection arn>",
            "HttpMethod": "POST",
            "InvocationEndpoint": "https://bank.example/x",
            "InvocationRateLimitPerSecond": 10,
        },
        ("InvocationEndpoint", "https://other.example"),
    ),
    "AWS::Cognito::UserPool": (
        {
            "AdminCreateUserConfig": {"AllowAdminCreateUserOnly": True},
            "AutoVerifiedAttributes": ["email"],
            "MfaConfiguration": "ON",
            "EnabledMfas": ["SOFTWARE_TOKEN_MFA"],
            "Policies": {"PasswordPolicy": {"MinimumLength": 14}},
            "UserPoolAddOns": {"AdvancedSecurityMode": "ENFORCED"},
        },
        ("Policies", {"PasswordPolicy": {"MinimumLength": 8}}),
    ),
    "AWS::Cognito::UserPoolClient": (
        {"UserPoolId": "<pool>", "GenerateSecret": True, "ExplicitAuthFlows": ["ALLOW_USER_SRP_AUTH"]},
        ("ExplicitAuthFlows", ["ALLOW_USER_PASSWORD_AUTH"]),
    ),
    "AWS::Cognito::UserPoolGroup": (
        {"UserPoolId": "<pool>", "GroupName": "operators", "Description": "d"},
        ("Description", "e"),
    ),
    "AWS::Cognito::UserPoolResourceServer": (
        {
            "UserPoolId": "<pool>",
            "Identifier": "admin",
            "Name": "admin",
            "Scopes": [{"ScopeName": "halt", "ScopeDescription": "d"}],
        },
        ("Scopes", []),
    ),
    "AWS::Cognito::UserPoolDomain": ({"UserPoolId": "<pool>", "Domain": "bursa-made"}, ("Domain", "other")),
    "AWS::KinesisFirehose::DeliveryStream": (
        {
            "DeliveryStreamType": "KinesisStreamAsSource",
            "KinesisStreamSourceConfiguration": {"KinesisStreamARN": "arn", "RoleARN": "<any role>"},
            "ExtendedS3DestinationConfiguration": {
                "BucketARN": "arn:aws:s3:::lake",
                "BufferingHints": {"IntervalInSeconds": 60},
                "Prefix": "trades/",
                "RoleARN": "<any role>",
            },
        },
        ("ExtendedS3DestinationConfiguration", {"BucketARN": "arn:aws:s3:::other", "RoleARN": "<any role>"}),
    ),
    "AWS::Glue::Database": (
        {"CatalogId": ACCOUNT, "DatabaseInput": {"Name": "lake"}},
        ("DatabaseInput", {"Name": "x"}),
    ),
    "AWS::Glue::Table": (
        {
            "CatalogId": ACCOUNT,
            "DatabaseName": "<database>",
            "TableInput": {
                "Name": "trades",
                "StorageDescriptor": {"Columns": [{"Name": "price", "Type": "bigint"}], "Location": "s3://lake/"},
            },
        },
        ("TableInput", {"Name": "trades", "StorageDescriptor": {"Columns": []}}),
    ),
    "AWS::Athena::WorkGroup": (
        {
            "Name": "analysts",
            "Description": "d",
            "WorkGroupConfiguration": {"BytesScannedCutoffPerQuery": 10_000_000, "EnforceWorkGroupConfiguration": True},
        },
        ("WorkGroupConfiguration", {"BytesScannedCutoffPerQuery": 1}),
    ),
    "AWS::Athena::NamedQuery": (
        {"Database": "lake", "Name": "q", "QueryString": "SELECT 1", "WorkGroup": "<workgroup>"},
        ("QueryString", "SELECT 2"),
    ),
    "AWS::Logs::ResourcePolicy": (
        {"PolicyName": "dns", "PolicyDocument": json.dumps(ALLOW)},
        ("PolicyDocument", json.dumps(DENY)),
    ),
    "AWS::Logs::LogStream": (
        {"LogGroupName": "<log group>", "LogStreamName": "s"},
        ("LogStreamName", "other"),
    ),
    "AWS::Kinesis::StreamConsumer": (
        {"StreamARN": "<stream arn>", "ConsumerName": "c"},
        ("ConsumerName", "other"),
    ),
    "AWS::Kinesis::ResourcePolicy": (
        {"ResourceArn": "<stream arn>", "ResourcePolicy": ALLOW},
        ("ResourcePolicy", DENY),
    ),
    "AWS::SES::EmailIdentity": ({"EmailIdentity": "bursa.example"}, ("EmailIdentity", "other.example")),
    "AWS::SES::ConfigurationSet": ({"Name": "customers"}, ("Name", "other")),
    "AWS::SES::Template": (
        {"Template": {"TemplateName": "hello", "SubjectPart": "s", "TextPart": "t"}},
        ("Template", {"TemplateName": "hello", "SubjectPart": "s", "TextPart": "u"}),
    ),
}


def wanted(type_name: str, properties: dict[str, Any], logical_id: str = "It") -> Wanted:
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, type_name).schema
    return Wanted(
        stack="Test-Stack",
        logical_id=logical_id,
        type=type_name,
        region=REGION,
        properties=properties,
        create_only=frozenset(pointer.split("/")[2] for pointer in schema.get("createOnlyProperties", [])),
    )


@pytest.fixture(scope="module")
def world(shared_cloud: Cloud) -> dict[str, Any]:
    """What other resources refer to, made by the providers themselves."""
    made: dict[str, Any] = {}

    def make(name: str, type_name: str, properties: dict[str, Any]) -> Placed:
        return REGISTRY[type_name].create(wanted(type_name, properties, f"World{name}"), shared_cloud)

    key = make("Key", "AWS::KMS::Key", {"KeyPolicy": ALLOW})
    queue = make("Queue", "AWS::SQS::Queue", {})
    bus = make("Bus", "AWS::Events::EventBus", {"Name": "bus"})
    made["<key>"], made["<queue>"], made["<queue arn>"] = key.ref, queue.ref, queue.attributes["Arn"]
    made["<bus>"], made["<bus arn>"] = bus.ref, bus.attributes["Arn"]
    made["<topic>"] = make("Topic", "AWS::SNS::Topic", {}).ref
    made["<bucket>"] = make("Bucket", "AWS::S3::Bucket", {}).ref
    made["<role>"] = make("Role", "AWS::IAM::Role", {"AssumeRolePolicyDocument": TRUST}).ref
    made["<log group>"] = make("Group", "AWS::Logs::LogGroup", {}).ref
    made["<cluster>"] = make("Cluster", "AWS::ECS::Cluster", {}).ref
    made["<task>"] = make("Task", "AWS::ECS::TaskDefinition", CASES["AWS::ECS::TaskDefinition"][0]).ref
    trust = {**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": {"Service": ["lambda.amazonaws.com"]}}]}
    role = make("AnyRole", "AWS::IAM::Role", {"AssumeRolePolicyDocument": trust})
    made["<any role>"] = role.attributes["Arn"]
    made["<stream arn>"] = make("Stream", "AWS::Kinesis::Stream", {"ShardCount": 1}).attributes["Arn"]
    function = make("Function", "AWS::Lambda::Function", filled(CASES["AWS::Lambda::Function"][0], made))
    made["<function>"], made["<function arn>"] = function.ref, function.attributes["Arn"]
    version = make("Version", "AWS::Lambda::Version", {"FunctionName": function.ref})
    made["<version>"] = version.attributes["Version"]
    made["<pool>"] = make("Pool", "AWS::Cognito::UserPool", {}).ref
    made["<database>"] = make("Database", "AWS::Glue::Database", {"DatabaseInput": {"Name": "world"}}).ref
    made["<workgroup>"] = make("WorkGroup", "AWS::Athena::WorkGroup", {"Name": "world"}).ref
    connection = make("Connection", "AWS::Events::Connection", CASES["AWS::Events::Connection"][0])
    made["<connection arn>"] = connection.attributes["Arn"]
    made["<namespace>"] = make(
        "Zone", "AWS::ServiceDiscovery::PrivateDnsNamespace", {"Name": "bursa.internal", "Vpc": "vpc-1"}
    ).ref
    made["<secret>"] = make("Secret", "AWS::SecretsManager::Secret", {"SecretString": '{"username": "bursa"}'}).ref
    for name, port in (("cluster", 1), ("another", 2)):
        shared_cloud.databases[name] = {"engine": "postgres", "host": "127.0.0.1", "port": port, "dbname": "bursa"}
    return made


def filled(value: Any, world: dict[str, Any]) -> Any:
    match value:
        case str():
            return world.get(value, value)
        case dict():
            return {key: filled(inner, world) for key, inner in value.items()}
        case list():
            return [filled(inner, world) for inner in value]
    return value


def test_every_provider_has_a_case() -> None:
    assert CASES.keys() == REGISTRY.keys()


@pytest.mark.parametrize("type_name", CASES)
def test_what_is_created_reads_back_and_what_differs_is_refused(
    type_name: str, world: dict[str, Any], shared_cloud: Cloud
) -> None:
    properties, (name, otherwise) = CASES[type_name]
    given_properties = filled(properties, world)
    provider = REGISTRY[type_name]
    it = wanted(type_name, given_properties, "It" + type_name.replace(":", ""))
    placed = provider.create(it, shared_cloud)
    assert placed.ref
    legal = PROVIDER_SCHEMA_MANAGER.get_resource_schema(REGION, type_name).get_atts
    assert [each for each in placed.attributes if legal.get(each) is None] == []
    dropped = check(provider, it, placed, shared_cloud)
    assert set(dropped) <= set(provider.dropped)

    changed = replace(it, properties={**given_properties, name: filled(otherwise, world)})
    with pytest.raises(DroppedPropertyError, match=f"Test-Stack/It.*: {type_name}"):
        check(provider, changed, placed, shared_cloud)


@pytest.mark.parametrize("type_name", ["AWS::SNS::Topic", "AWS::KMS::Key", "AWS::ECS::Cluster", "AWS::S3::Bucket"])
def test_a_property_nobody_reads_back_stops_the_run(type_name: str, world: dict[str, Any], shared_cloud: Cloud) -> None:
    properties = filled(CASES[type_name][0], world) | {"Novel": 1}
    it = wanted(type_name, properties, "Novel")
    placed = REGISTRY[type_name].create(replace(it, properties=filled(CASES[type_name][0], world)), shared_cloud)
    with pytest.raises(DroppedPropertyError, match="neither read back nor listed"):
        check(REGISTRY[type_name], it, placed, shared_cloud)


def test_a_table_property_without_a_rule_is_named(shared_cloud: Cloud) -> None:
    table = wanted("AWS::DynamoDB::Table", {**CASES["AWS::DynamoDB::Table"][0], "Novel": 1}, "NovelTable")
    with pytest.raises(ProviderError, match=r"no rule for AWS::DynamoDB::Table\.Novel"):
        REGISTRY["AWS::DynamoDB::Table"].create(table, shared_cloud)


def test_a_table_without_a_replica_here_is_named(shared_cloud: Cloud) -> None:
    table = wanted("AWS::DynamoDB::GlobalTable", {**_TABLE, "Replicas": [{"Region": "eu-west-1"}]}, "Elsewhere")
    with pytest.raises(ProviderError, match="no replica in ap-southeast-3, only in eu-west-1"):
        REGISTRY["AWS::DynamoDB::GlobalTable"].create(table, shared_cloud)


def test_a_database_nobody_knows_cannot_be_attached(world: dict[str, Any], shared_cloud: Cloud) -> None:
    attachment = wanted(
        "AWS::SecretsManager::SecretTargetAttachment",
        {"SecretId": world["<secret>"], "TargetId": "x", "TargetType": "t"},
    )
    with pytest.raises(ProviderError, match="is no database; known"):
        REGISTRY["AWS::SecretsManager::SecretTargetAttachment"].create(attachment, shared_cloud)


def test_generated_secrets_follow_their_rules_and_are_the_same_in_every_run(shared_cloud: Cloud) -> None:
    rules = {
        "PasswordLength": 40,
        "ExcludePunctuation": True,
        "ExcludeCharacters": "0OIl",
        "GenerateStringKey": "password",
        "SecretStringTemplate": '{"username": "bursa"}',
    }
    values = []
    for logical_id in ("Login", "Login", "Other"):
        it = wanted(
            "AWS::SecretsManager::Secret", {"Name": f"s{len(values)}", "GenerateSecretString": rules}, logical_id
        )
        arn = REGISTRY[it.type].create(it, shared_cloud).ref
        values.append(json.loads(shared_cloud.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"]))
    assert values[0] == values[1]
    assert values[0] != values[2]
    assert values[0]["username"] == "bursa"
    assert len(values[0]["password"]) == 40
    assert values[0]["password"].isalnum()
    assert not set(values[0]["password"]) & set("0OIl")


def test_a_rule_gets_only_targets_that_moto_serves(world: dict[str, Any], shared_cloud: Cloud) -> None:
    def targets(**more: Any) -> dict[str, str]:
        properties = filled(CASES["AWS::Events::Rule"][0], world) | more
        it = wanted("AWS::Events::Rule", properties, f"Rule{len(more)}{more.get('State')}")
        name = REGISTRY[it.type].create(it, shared_cloud).ref
        bus, _, rule = name.partition("|")
        found = shared_cloud.client("events").list_targets_by_rule(Rule=rule, EventBusName=bus)["Targets"]
        return {target["Id"]: target["Arn"] for target in found}

    served = targets()
    assert served.keys() == {"logs", "queue"}
    assert ":log-group:" in served["logs"]
    assert served["queue"] != world["<queue arn>"]  # a queue of its own, which delivery empties into the true one
    assert ":sqs:" in served["queue"]
    assert targets(State="DISABLED") == {}


def test_made_names_fit_and_change_only_with_what_forces_a_replacement() -> None:
    name = wanted("AWS::IAM::Role", {"Path": "/", "Description": "a"}, "L" * 100).name(limit=64)
    assert len(name) == 64
    assert name == wanted("AWS::IAM::Role", {"Path": "/", "Description": "b"}, "L" * 100).name(limit=64)
    assert name != wanted("AWS::IAM::Role", {"Path": "/other", "Description": "a"}, "L" * 100).name(limit=64)
    assert wanted("AWS::SQS::Queue", {}).name(limit=20, suffix=".fifo").endswith(".fifo")
    assert len(wanted("AWS::SQS::Queue", {}).name(limit=20, suffix=".fifo")) <= 20
    assert wanted("AWS::SQS::Queue", {"QueueName": "given"}).name("QueueName") == "given"


values = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("xy", min_size=1, max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(values)
def test_a_value_is_the_same_as_itself_in_any_spelling(value: Any) -> None:
    assert same(value, value)
    assert same(value, json.dumps(value)) or not isinstance(value, dict | list)
    if isinstance(value, list):
        assert same(value, value[::-1])
        assert not same([*value, "more"], value)
    if isinstance(value, dict):
        assert same(value, {**value, "told": "more"})
        assert not same({**value, "wanted": "more"}, value)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, 2), ("a", "b"), (True, "false"), ([1], 1), ({"a": 1}, [1]), ({"a": 1}, {"a": 2}), ("1", None)],
)
def test_different_values_are_not_the_same(one: Any, other: Any) -> None:
    assert not same(one, other)


@pytest.mark.parametrize(("one", "other"), [(True, "true"), (5, "5"), (1.0, 1), ('{"a": 1}', {"a": 1})])
def test_spelling_does_not_matter(one: Any, other: Any) -> None:
    assert same(one, other)
