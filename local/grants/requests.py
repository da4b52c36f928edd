"""From HTTP requests to calls: which actions on which resources a request needs, keys that encrypt them included.

A request that this module does not know cannot be judged: that is an error with its name, never a silent yes.
"""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote

from moto.backends import get_backend

from local.machines import machine_of
from local.refusals import named_key
from local.resolve import Json

Need = tuple[str, str, dict[str, list[str]]]
"""Action, resource, and what conditions may ask of it."""


class UnknownRequestError(LookupError):
    """A request that no rule here covers. The message names it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a request does not say: which key encrypts what it is about, and what a name stands for."""

    keys: Mapping[str, str] = field(default_factory=dict)
    """By ARN of a queue, topic, stream, table, bucket, secret or parameter: the key, as its template names it."""
    with_bucket_key: frozenset[str] = frozenset()
    """ARNs of the buckets whose objects share a key of the bucket."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """ARN by name."""
    senders: frozenset[str] = frozenset()
    """Mail addresses and domains that are identities."""
    machine_of: Callable[[str], str] = machine_of
    """ARN of the state machine that waits for a task's token; empty when none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, as it came."""

    known: Known = field(repr=False)

    account: str
    region: str
    service: str
    """Its signing name."""
    target: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def action(self) -> str:
        """The operation of a JSON or query protocol."""
        return self.target.rpartition(".")[2] or self.form.get("Action", "")

    @property
    def json(self) -> dict[str, Any]:
        """The body as JSON."""
        told: dict[str, Any] = json.loads(self.body or b"{}")
        return told

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        if not self.headers.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
            return {}
        return {key: values[0] for key, values in parse_qs(self.body.decode()).items()}

    def arn(self, service: str, rest: str) -> str:
        """Return an ARN in the region of the request."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{rest}"


def needs(request: Request) -> list[Need]:
    """Return everything that a request needs to be allowed. Raises UnknownRequestError."""
    rule = _RULES.get(request.service)
    if rule is None:
        raise UnknownRequestError(f"no rule for calls of {request.service} in local/grants/requests.py")
    return list(rule(request))


def _unknown(request: Request) -> UnknownRequestError:
    what = request.action or f"{request.method} {request.path}?{request.query}"
    return UnknownRequestError(f"no rule for {request.service}:{what} in local/grants/requests.py")


def _via(
    request: Request, action: str, encrypted: str, service: str, context: Mapping[str, str], named: str = ""
) -> Iterator[Need]:
    """Yield the use that a service makes, for its caller, of the key of what is `encrypted`; nothing without one."""
    key = named or request.known.keys.get(encrypted, "")
    if not key or "alias/aws/" in key:
        return
    keys = {f"kms:encryptioncontext:{name.lower()}": [value] for name, value in context.items()}
    yield (
        f"kms:{action}",
        _key_arn(request, key),
        {
            "kms:viaservice": [f"{service}.{request.region}.amazonaws.com"],
            "kms:calleraccount": [request.account],
            "kms:encryptioncontextkeys": list(context),
            **keys,
        },
    )


def _key_arn(request: Request, key: str) -> str:
    if key.startswith("arn:") and ":key/" in key:
        return key
    found = named_key({"KeyId": key}, request.account, request.region)
    return str(found.arn) if found is not None else request.arn("kms", f"key/{key}")


# ---- by service


_TRANSACTED: Final = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


def _dynamodb(request: Request) -> Iterator[Need]:
    given = request.json
    if request.target.startswith("DynamoDBStreams"):
        yield from _table_stream(request, given)
        return
    match request.action:
        case "TransactWriteItems" | "TransactGetItems":
            pairs = [
                (_TRANSACTED[kind], item["TableName"]) for each in given["TransactItems"] for kind, item in each.items()
            ]
        case "BatchWriteItem" | "BatchGetItem":
            pairs = [(request.action, table) for table in given["RequestItems"]]
        case _ if "TableName" in given:
            pairs = [(request.action, given["TableName"])]
        case "ListTables":
            yield "dynamodb:ListTables", "*", {}
            return
        case _:
            raise _unknown(request)
    for action, named in dict.fromkeys(pairs):
        name = named.rpartition("/")[2]
        arn = request.arn("dynamodb", f"table/{name.rpartition('/')[2]}")  # a table may be named by its ARN
        yield f"dynamodb:{action}", f"{arn}/index/{given['IndexName']}" if "IndexName" in given else arn, {}
        if action != "DescribeTable":
            context = {"aws:dynamodb:tableName": name, "aws:dynamodb:subscriberId": request.account}
            yield from _via(request, "Decrypt", arn, "dynamodb", context)


def _table_stream(request: Request, given: Mapping[str, Json]) -> Iterator[Need]:
    arn = given.get("StreamArn") or given.get("ShardIterator", "*").partition("|")[0]
    yield f"dynamodb:{request.action}", arn, {}
    if request.action == "GetRecords":
        table, _stream, _label = arn.partition("/stream/")
        yield from _via(request, "Decrypt", table, "dynamodb", {"aws:dynamodb:tableName": table.rpartition("/")[2]})


_KINESIS_KEYS: Final = {"PutRecord": "GenerateDataKey", "PutRecords": "GenerateDataKey", "GetRecords": "Decrypt"}


def _kinesis(request: Request) -> Iterator[Need]:
    given = request.json
    name = given.get("StreamName") or given.get("StreamARN", "").rpartition("/")[2]
    if not name and "ShardIterator" in given:
        name = base64.b64decode(given["ShardIterator"]).decode().split(":")[0]
    if not name:
        yield f"kinesis:{request.action}", given.get("ConsumerARN", "*"), {}
        return
    arn = request.arn("kinesis", f"stream/{name}")
    yield f"kinesis:{request.action}", arn, {}
    if request.action in _KINESIS_KEYS:
        yield from _via(request, _KINESIS_KEYS[request.action], arn, "kinesis", {"aws:kinesis:arn": arn})


_SQS_KEYS: Final = {"SendMessage": ("GenerateDataKey", "Decrypt"), "ReceiveMessage": ("Decrypt",)}


def _sqs(request: Request) -> Iterator[Need]:
    given = request.json
    if "QueueUrl" not in given:
        yield f"sqs:{request.action}", request.arn("sqs", given.get("QueueName", "*")), {}
        return
    name = given["QueueUrl"].rpartition("/")[2]
    arn = request.arn("sqs", name)
    action = request.action.removesuffix("Batch")
    yield f"sqs:{action}", arn, {}
    for use in _SQS_KEYS.get(action, ()):
        yield from _via(request, use, arn, "sqs", {"aws:sqs:arn": arn})


def _sns(request: Request) -> Iterator[Need]:
    form = request.form
    arn = form.get("TopicArn") or form.get("TargetArn") or "*"
    action = request.action.removesuffix("Batch")
    yield f"sns:{action}", arn, {}
    if action == "Publish":
        for use in ("GenerateDataKey", "Decrypt"):
            yield from _via(request, use, arn, "sns", {"aws:sns:topicArn": arn})


def _events(request: Request) -> Iterator[Need]:
    if request.action != "PutEvents":
        yield f"events:{request.action}", "*", {}
        return
    entries = request.json.get("Entries", [])
    for entry in entries:
        bus = entry.get("EventBusName", "default").rpartition("/")[2]
        context = {"events:source": [entry.get("Source", "")], "events:detail-type": [entry.get("DetailType", "")]}
        yield "events:PutEvents", request.arn("events", f"event-bus/{bus}"), context


def _kms(request: Request) -> Iterator[Need]:
    given = request.json
    if request.action in {"GenerateRandom", "ListKeys", "ListAliases"}:
        yield f"kms:{request.action}", "*", {}
        return
    key = named_key(given, request.account, request.region)
    arn = str(key.arn) if key is not None else request.arn("kms", f"key/{given.get('KeyId', 'unknown')}")
    encryption = given.get("EncryptionContext", {})
    context = {f"kms:encryptioncontext:{name.lower()}": [str(value)] for name, value in encryption.items()}
    context |= {"kms:encryptioncontextkeys": list(encryption), "kms:calleraccount": [request.account]}
    for name in ("SigningAlgorithm", "EncryptionAlgorithm", "MessageType", "MacAlgorithm"):
        if name in given:
            context[f"kms:{name.lower()}"] = [given[name]]
    if "alias/" in str(given.get("KeyId", "")):
        context["kms:requestalias"] = [given["KeyId"][given["KeyId"].index("alias/") :]]
    if request.action == "ReEncrypt":
        yield "kms:ReEncryptFrom", arn, context
        yield "kms:ReEncryptTo", _key_arn(request, given["DestinationKeyId"]), context
        return
    yield f"kms:{request.action}", arn, context


_SECRET_KEYS: Final = {
    "GetSecretValue": ("Decrypt",),
    "PutSecretValue": ("GenerateDataKey", "Decrypt"),
    "UpdateSecret": ("GenerateDataKey", "Decrypt"),
}


def _secretsmanager(request: Request) -> Iterator[Need]:
    given = request.json
    if request.action == "GetRandomPassword":
        yield "secretsmanager:GetRandomPassword", "*", {}
        return
    named = given.get("SecretId", "*")
    arn = request.known.secrets.get(named, named)
    stage = given.get("VersionStage", "AWSCURRENT")
    yield f"secretsmanager:{request.action}", arn, {"secretsmanager:versionstage": [stage]}
    for use in _SECRET_KEYS.get(request.action, ()):
        yield from _via(request, use, arn, "secretsmanager", {"SecretARN": arn})


def _ssm(request: Request) -> Iterator[Need]:
    given = request.json
    names = given.get("Names") or [given.get("Name") or given.get("Path") or "*"]
    for name in names:
        bare = name.partition(":parameter")[2] if name.startswith("arn:") else name
        arn = request.arn("ssm", f"parameter/{bare.lstrip('/')}")
        yield f"ssm:{request.action}", arn, {}
        if given.get("WithDecryption"):
            yield from _via(request, "Decrypt", arn, "ssm", {"PARAMETER_ARN": arn})


_TASKS: Final = frozenset({"SendTaskSuccess", "SendTaskFailure", "SendTaskHeartbeat"})
"""They name no state machine: the token tells which one waits."""


def _states(request: Request) -> Iterator[Need]:
    given = request.json
    if request.action in _TASKS:
        if machine := request.known.machine_of(str(given.get("taskToken", ""))):
            yield f"states:{request.action}", machine, {}
        return  # nobody waits: there is nothing to protect, and the service says so
    if request.action == "ListStateMachines":
        yield "states:ListStateMachines", "*", {}
        return
    arn = given.get("stateMachineArn") or given.get("executionArn") or given.get("activityArn")
    if arn is None:
        raise _unknown(request)
    yield f"states:{request.action}", arn, {}


def _firehose(request: Request) -> Iterator[Need]:
    name = request.json.get("DeliveryStreamName", "*")
    yield f"firehose:{request.action}", request.arn("firehose", f"deliverystream/{name}"), {}


def _logs(request: Request) -> Iterator[Need]:
    given = request.json
    group = given.get("logGroupName") or given.get("logGroupIdentifier") or "*"
    yield (
        f"logs:{request.action}",
        request.arn("logs", f"log-group:{group}:log-stream:{given.get('logStreamName', '')}"),
        {},
    )


def _lambda(request: Request) -> Iterator[Need]:
    parts = request.path.strip("/").split("/")
    if len(parts) < 3 or parts[1] != "functions":  # noqa: PLR2004 - date/functions/name
        raise _unknown(request)
    named = unquote(parts[2])
    _head, found, rest = named.partition(":function:")
    arn = request.arn("lambda", f"function:{rest if found else named}")
    if parts[3:] == ["invocations"]:
        yield "lambda:InvokeFunction", arn, {}
        return
    raise _unknown(request)


def _ses(request: Request) -> Iterator[Need]:
    if request.path.rstrip("/") != "/v2/email/outbound-emails" or request.method != "POST":
        raise _unknown(request)
    given = request.json
    sender = given.get("FromEmailAddress", "").rpartition("<")[2].rstrip(">")
    context = {"ses:fromaddress": [sender]}
    recipients = [each for kind in given.get("Destination", {}).values() for each in kind]
    context["ses:recipients"] = recipients and ["<customer>"]
    identity = sender if sender in request.known.senders else sender.rpartition("@")[2]
    yield "ses:SendEmail", request.arn("ses", f"identity/{identity}"), context
    if configuration := given.get("ConfigurationSetName"):
        yield "ses:SendEmail", request.arn("ses", f"configuration-set/{configuration}"), context
    if template := given.get("Content", {}).get("Template", {}).get("TemplateName"):
        yield "ses:SendEmail", request.arn("ses", f"template/{template}"), context


def _cloudwatch(request: Request) -> Iterator[Need]:
    action = request.action
    if request.path.startswith("/service/GraniteServiceVersion20100801/operation/"):
        action = request.path.rpartition("/")[2]
    if not action:
        raise _unknown(request)
    namespace = request.form.get("Namespace")
    yield f"cloudwatch:{action}", "*", {"cloudwatch:namespace": [namespace]} if namespace else {}


_NEEDS_NOTHING: Final = frozenset({"GetCallerIdentity"})


def _sts(request: Request) -> Iterator[Need]:
    if request.action not in _NEEDS_NOTHING:
        yield f"sts:{request.action}", request.form.get("RoleArn", "*"), {}


_SIGNED_BY_USERS: Final = frozenset(
    {"AssociateSoftwareToken", "ChangePassword", "ConfirmForgotPassword", "ConfirmSignUp", "ForgotPassword"}
    | {"GetUser", "GlobalSignOut", "InitiateAuth", "ResendConfirmationCode", "RespondToAuthChallenge", "SignUp"}
    | {"SetUserMFAPreference", "UpdateUserAttributes", "VerifySoftwareToken", "VerifyUserAttribute"}
)


def _cognito(request: Request) -> Iterator[Need]:
    if request.action in _SIGNED_BY_USERS:
        return
    yield (
        f"cognito-idp:{request.action}",
        request.arn("cognito-idp", f"userpool/{request.json.get('UserPoolId', '*')}"),
        {},
    )


def _athena(request: Request) -> Iterator[Need]:
    given = request.json
    group = given.get("WorkGroup", "primary")
    execution = given.get("QueryExecutionId")
    if execution:
        executions = get_backend("athena")[request.account][request.region].executions
        found = executions.get(execution)
        group = found.workgroup.name if found is not None and found.workgroup else group
    yield f"athena:{request.action}", request.arn("athena", f"workgroup/{group}"), {}


def _glue(request: Request) -> Iterator[Need]:
    given = request.json
    yield f"glue:{request.action}", request.arn("glue", "catalog"), {}
    database = given.get("DatabaseName") or (given.get("Name") if "Database" in request.action else None)
    if database:
        yield f"glue:{request.action}", request.arn("glue", f"database/{database}"), {}
    table = given.get("TableName") or (given.get("Name") if "DatabaseName" in given else None)
    if database and table:
        yield f"glue:{request.action}", request.arn("glue", f"table/{database}/{table}"), {}


def _scheduler(request: Request) -> Iterator[Need]:
    actions = {"POST": "CreateSchedule", "PUT": "UpdateSchedule", "GET": "GetSchedule", "DELETE": "DeleteSchedule"}
    name = request.path.rpartition("/")[2]
    if not request.path.startswith("/schedules/"):
        raise _unknown(request)
    yield f"scheduler:{actions[request.method]}", request.arn("scheduler", f"schedule/default/{name}"), {}


# ---- S3


_OBJECT_SUBRESOURCES: Final = {
    ("GET", "tagging"): "GetObjectTagging",
    ("PUT", "tagging"): "PutObjectTagging",
    ("DELETE", "tagging"): "DeleteObjectTagging",
    ("GET", "retention"): "GetObjectRetention",
    ("PUT", "retention"): "PutObjectRetention",
    ("GET", "legal-hold"): "GetObjectLegalHold",
    ("PUT", "legal-hold"): "PutObjectLegalHold",
    ("GET", "acl"): "GetObjectAcl",
    ("PUT", "acl"): "PutObjectAcl",
    ("GET", "attributes"): "GetObjectAttributes",
    ("POST", "uploads"): "PutObject",
    ("PUT", "uploadId"): "PutObject",
    ("POST", "uploadId"): "PutObject",
    ("GET", "uploadId"): "ListMultipartUploadParts",
    ("DELETE", "uploadId"): "AbortMultipartUpload",
}
_BUCKET_SUBRESOURCES: Final = {
    ("GET", "location"): "GetBucketLocation",
    ("GET", "uploads"): "ListBucketMultipartUploads",
    ("GET", "versions"): "ListBucketVersions",
    ("GET", "versioning"): "GetBucketVersioning",
    ("GET", "object-lock"): "GetBucketObjectLockConfiguration",
    ("GET", "acl"): "GetBucketAcl",
    ("GET", "encryption"): "GetEncryptionConfiguration",
    ("GET", "lifecycle"): "GetLifecycleConfiguration",
}
_PLAIN: Final = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
_OBJECT_KEYS: Final = {"PutObject": "GenerateDataKey", "GetObject": "Decrypt", "GetObjectVersion": "Decrypt"}


def _s3(request: Request) -> Iterator[Need]:
    query = parse_qs(request.query, keep_blank_values=True)
    bucket, _slash, key = unquote(request.path).lstrip("/").partition("/")
    if not bucket:
        yield "s3:ListAllMyBuckets", "*", {}
    elif not key:
        yield from _s3_bucket(request, bucket, query)
    else:
        yield from _s3_object(request, bucket, key, query)


def _s3_bucket(request: Request, bucket: str, query: Mapping[str, list[str]]) -> Iterator[Need]:
    arn = f"arn:aws:s3:::{bucket}"
    for (method, name), action in _BUCKET_SUBRESOURCES.items():
        if request.method == method and name in query:
            yield f"s3:{action}", arn, {}
            return
    if request.method == "POST" and "delete" in query:
        yield "s3:DeleteObject", f"{arn}/*", {}
    elif request.method in {"GET", "HEAD"}:
        context = {f"s3:{name}": query[name] for name in ("prefix", "delimiter", "max-keys") if name in query}
        yield "s3:ListBucket", arn, context
    else:
        raise _unknown(request)


def _s3_object(request: Request, bucket: str, key: str, query: Mapping[str, list[str]]) -> Iterator[Need]:
    arn = f"arn:aws:s3:::{bucket}/{key}"
    subresource = next((each for each in _OBJECT_SUBRESOURCES if each[0] == request.method and each[1] in query), None)
    action = _OBJECT_SUBRESOURCES[subresource] if subresource else _PLAIN.get(request.method)
    if action is None:
        raise _unknown(request)
    if "versionId" in query and action in {"GetObject", "DeleteObject"}:
        action += "Version"
    context = {
        f"s3:{name}": [value]
        for name in _S3_CONDITIONS
        if (value := request.headers.get("HTTP_" + name.upper().replace("-", "_")))
    }
    yield f"s3:{action}", arn, context
    if action == "PutObject":
        if source := request.headers.get("HTTP_X_AMZ_COPY_SOURCE"):
            yield "s3:GetObject", "arn:aws:s3:::" + unquote(source).lstrip("/").partition("?")[0], {}
        if "s3:x-amz-object-lock-mode" in context:
            yield "s3:PutObjectRetention", arn, context
        if "s3:x-amz-tagging" in context:
            yield "s3:PutObjectTagging", arn, context
    if action in _OBJECT_KEYS:
        yield from _s3_key(request, bucket, key, _OBJECT_KEYS[action])
        if action == "PutObject" and {"uploads", "uploadId"} & query.keys():
            yield from _s3_key(request, bucket, key, "Decrypt")


_S3_CONDITIONS: Final = (
    "x-amz-acl",
    "x-amz-object-lock-mode",
    "x-amz-object-lock-retain-until-date",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-tagging",
)


def _s3_key(request: Request, bucket: str, key: str, use: str) -> Iterator[Need]:
    arn = f"arn:aws:s3:::{bucket}"
    context = {"aws:s3:arn": arn if arn in request.known.with_bucket_key else f"{arn}/{key}"}
    named = request.headers.get("HTTP_X_AMZ_SERVER_SIDE_ENCRYPTION_AWS_KMS_KEY_ID", "")
    yield from _via(request, use, arn, "s3", context, named)


_RULES: Final[Mapping[str, Callable[[Request], Iterator[Need]]]] = {
    "athena": _athena,
    "cognito-idp": _cognito,
    "dynamodb": _dynamodb,
    "events": _events,
    "firehose": _firehose,
    "glue": _glue,
    "kinesis": _kinesis,
    "kms": _kms,
    "lambda": _lambda,
    "logs": _logs,
    "monitoring": _cloudwatch,
    "s3": _s3,
    "scheduler": _scheduler,
    "secretsmanager": _secretsmanager,
    "ses": _ses,
    "sns": _sns,
    "sqs": _sqs,
    "ssm": _ssm,
    "states": _states,
    "sts": _sts,
}
