"""All policies of one deployment, by whom and what they are about, and what requests do not say of themselves."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from moto.core.models import DEFAULT_ACCOUNT_ID

from local.deploy import Deployment, Resource
from local.grants.policy import Call, Decision, Policies, Statement, decide, statements
from local.grants.requests import Known
from local.resolve import Json

IDENTITY: Final = "identity"
BOUNDARY: Final = "boundary"
RESOURCE: Final = "resource"


class Entry(NamedTuple):
    """One policy: who or what holds it, as ARN, and where it stands."""

    kind: str
    holder: str
    where: str
    document: Json


class Book:
    """Policies, ready to decide."""

    def __init__(self, entries: Iterable[Entry], known: Known | None = None) -> None:
        """Read every policy. Raises PolicyError for one that cannot be evaluated."""
        self.entries = list(entries)
        self.known = known or Known()
        self._held: dict[tuple[str, str], list[Statement]] = defaultdict(list)
        for entry in self.entries:
            self._held[entry.kind, entry.holder] += statements(entry.document, entry.where)

    def decide(self, call: Call, *, without: str = "") -> Decision:
        """Return what the policies say of a call, as if the statement that stands at `without` were not there."""
        holder = holder_of(call.resource)
        boundary = self._held.get((BOUNDARY, call.role)) if call.role else None
        return decide(
            call,
            Policies(
                identity=self._of(IDENTITY, call.role, without) if call.role else (),
                boundary=boundary,
                resource=self._of(RESOURCE, holder, without),
                is_key=call.action.startswith("kms:"),
            ),
        )

    def statements(self) -> Iterator[tuple[str, str, Statement]]:
        """Yield kind, holder and statement of everything there is."""
        for (kind, holder), held in self._held.items():
            for statement in held:
                yield kind, holder, statement

    def dump(self) -> str:
        """Return every policy as JSON, for `load`."""
        return json.dumps([entry._asdict() for entry in self.entries], indent=1, sort_keys=True)

    @classmethod
    def load(cls, text: str) -> "Book":
        """Return the book that `dump` wrote."""
        return cls(Entry(**each) for each in json.loads(text))

    def _of(self, kind: str, holder: str, without: str) -> list[Statement]:
        held = self._held.get((kind, holder), [])
        return [each for each in held if each.where != without] if without else held


def holder_of(resource: str) -> str:
    """Return the ARN of what holds the policy of a resource: the bucket of an object, the table of an index."""
    if resource == "*":
        return resource
    _arn, _aws, service, *rest = resource.split(":", 5)
    match service if rest else "":
        case "s3":
            return resource.partition("/")[0]
        case "dynamodb":
            return "/".join(resource.split("/")[:2])
        case "lambda":
            return ":".join(resource.split(":")[:7])
    return resource


def written(deployment: Deployment, managed: Callable[[str], Json]) -> Book:
    """Return the book of a deployment; `managed` returns the document of a policy that AWS keeps."""
    return Book([*_identity(deployment, managed), *_resource(deployment)], _known(deployment))


def _identity(deployment: Deployment, managed: Callable[[str], Json]) -> Iterator[Entry]:
    roles = {each.placed.ref: str(each.placed.attributes["Arn"]) for each in deployment.of_type("AWS::IAM::Role")}
    shared = {each.placed.ref: each for each in deployment.of_type("AWS::IAM::ManagedPolicy")}
    for role in deployment.of_type("AWS::IAM::Role"):
        given, arn = role.wanted.properties, roles[role.placed.ref]
        for policy in given.get("Policies", []):
            yield Entry(IDENTITY, arn, f"{role.wanted.path}/{policy['PolicyName']}", policy["PolicyDocument"])
        for kind, attached in (
            *((IDENTITY, each) for each in given.get("ManagedPolicyArns", [])),
            *((BOUNDARY, each) for each in [given.get("PermissionsBoundary")] if each),
        ):
            if attached in shared:
                policy = shared[attached].wanted
                yield Entry(kind, arn, policy.path, policy.properties["PolicyDocument"])
            else:
                yield Entry(kind, arn, attached, managed(attached))
    for policy in deployment.of_type("AWS::IAM::Policy"):
        for name in policy.wanted.properties.get("Roles", []):
            yield Entry(IDENTITY, roles[name], policy.wanted.path, policy.wanted.properties["PolicyDocument"])
    for policy in shared.values():
        for name in policy.wanted.properties.get("Roles", []):
            yield Entry(IDENTITY, roles[name], policy.wanted.path, policy.wanted.properties["PolicyDocument"])


def _resource(deployment: Deployment) -> Iterator[Entry]:
    for resource in deployment.resources.values():
        held = _POLICIES.get(resource.wanted.type)
        if held is not None:
            for holder, document in held(resource, deployment):
                yield Entry(RESOURCE, holder, resource.wanted.path, document)


_Held = Iterator[tuple[str, Json]]
"""ARNs of what holds a policy, and the policy."""


def _of_queues(policy: Resource, deployment: Deployment) -> _Held:
    arns = {each.placed.ref: _arn(each) for each in deployment.of_type("AWS::SQS::Queue")}
    given = policy.wanted.properties
    return ((arns[url], given["PolicyDocument"]) for url in given["Queues"])


def _of_bus(policy: Resource, deployment: Deployment) -> _Held:
    arns = {each.placed.ref: _arn(each) for each in deployment.of_type("AWS::Events::EventBus")}
    given = policy.wanted.properties
    default = f"arn:aws:events:{policy.wanted.region}:{DEFAULT_ACCOUNT_ID}:event-bus/default"
    yield arns.get(given.get("EventBusName", "default"), default), {"Statement": [given["Statement"]]}


def _of_function(policy: Resource, deployment: Deployment) -> _Held:
    given = policy.wanted.properties
    function = _function_arn(given["FunctionName"], deployment)
    yield function, _permission(given, function)


def _of_table(table: Resource, _deployment: Deployment) -> _Held:
    return ((_arn(table), document) for document in _table_policies(table.wanted.properties))


def _own(name: str) -> Callable[[Resource, Deployment], _Held]:
    """Return what tells the policy that stands in a property of the resource that holds it."""

    def held(resource: Resource, _deployment: Deployment) -> _Held:
        given = resource.wanted.properties
        return ((_arn(resource), given[name]) for _ in (1,) if name in given)

    return held


def _of_named(holder: str, document: str, prefix: str = "") -> Callable[[Resource, Deployment], _Held]:
    """Return what tells the policy of what a property names."""

    def held(resource: Resource, _deployment: Deployment) -> _Held:
        given = resource.wanted.properties
        named = given[holder] if isinstance(given[holder], list) else [given[holder]]
        return ((prefix + each, given[document]) for each in named)

    return held


_POLICIES: Final[Mapping[str, Callable[[Resource, Deployment], _Held]]] = {
    "AWS::DynamoDB::GlobalTable": _of_table,
    "AWS::DynamoDB::Table": _of_table,
    "AWS::Events::EventBus": _own("Policy"),
    "AWS::Events::EventBusPolicy": _of_bus,
    "AWS::KMS::Key": _own("KeyPolicy"),
    "AWS::Kinesis::ResourcePolicy": _of_named("ResourceArn", "ResourcePolicy"),
    "AWS::Lambda::Permission": _of_function,
    "AWS::S3::BucketPolicy": _of_named("Bucket", "PolicyDocument", "arn:aws:s3:::"),
    "AWS::SNS::TopicPolicy": _of_named("Topics", "PolicyDocument"),
    "AWS::SQS::QueuePolicy": _of_queues,
    "AWS::SecretsManager::ResourcePolicy": _of_named("SecretId", "ResourcePolicy"),
}


def _table_policies(given: Mapping[str, Json]) -> Iterator[Json]:
    for holder in (given, *given.get("Replicas", [])):
        if document := holder.get("ResourcePolicy", {}).get("PolicyDocument"):
            yield document


def _function_arn(named: str, deployment: Deployment) -> str:
    if named.startswith("arn:"):
        return holder_of(named)
    return next(_arn(each) for each in deployment.of_type("AWS::Lambda::Function") if each.placed.ref == named)


def _permission(given: Mapping[str, Json], function: str) -> Json:
    """Return a permission as the statement that it becomes in the function's policy."""
    principal = given["Principal"]
    conditions: dict[str, dict[str, str]] = {}
    if "SourceArn" in given:
        conditions["ArnLike"] = {"aws:SourceArn": given["SourceArn"]}
    if "SourceAccount" in given:
        conditions["StringEquals"] = {"aws:SourceAccount": given["SourceAccount"]}
    is_service = principal.endswith(".amazonaws.com")
    statement = {
        "Effect": "Allow",
        "Action": given["Action"],
        "Principal": "*" if principal == "*" else {"Service" if is_service else "AWS": principal},
        "Resource": [function, f"{function}:*"],
        "Condition": conditions,
    }
    return {"Statement": [statement]}


def _known(deployment: Deployment) -> Known:
    secrets = deployment.of_type("AWS::SecretsManager::Secret")
    buckets = {_arn(each): each.wanted.properties for each in deployment.of_type("AWS::S3::Bucket")}
    return Known(
        keys={holder: key for each in deployment.resources.values() for holder, key in _key(each)},
        with_bucket_key=frozenset(arn for arn, given in buckets.items() if _encryption(given).get("BucketKeyEnabled")),
        secrets={each.placed.ref.partition(":secret:")[2].rpartition("-")[0]: each.placed.ref for each in secrets},
        senders=frozenset(each.placed.ref for each in deployment.of_type("AWS::SES::EmailIdentity")),
    )


def _key(resource: Resource) -> Iterator[tuple[str, str]]:
    """Yield the ARN of an encrypted resource and its key, as the template names it."""
    given = resource.wanted.properties
    match resource.wanted.type:
        case "AWS::SQS::Queue":
            yield _arn(resource), given.get("KmsMasterKeyId", "")
        case "AWS::SNS::Topic":
            yield resource.placed.ref, given.get("KmsMasterKeyId", "")
        case "AWS::Kinesis::Stream":
            yield _arn(resource), given.get("StreamEncryption", {}).get("KeyId", "")
        case "AWS::DynamoDB::Table":
            yield _arn(resource), given.get("SSESpecification", {}).get("KMSMasterKeyId", "")
        case "AWS::DynamoDB::GlobalTable":
            yield _arn(resource), _replica_key(given, resource.wanted.region)
        case "AWS::SecretsManager::Secret":
            yield resource.placed.ref, given.get("KmsKeyId", "")
        case "AWS::RDS::DBCluster" if "MasterUserSecret" in given:
            yield str(resource.placed.attributes["MasterUserSecret.SecretArn"]), given["MasterUserSecret"]["KmsKeyId"]
        case "AWS::S3::Bucket":
            by_default = _encryption(given).get("ServerSideEncryptionByDefault", {})
            yield _arn(resource), by_default.get("KMSMasterKeyID", "")


def _encryption(bucket: Mapping[str, Json]) -> Mapping[str, Json]:
    rules = bucket.get("BucketEncryption", {}).get("ServerSideEncryptionConfiguration", [])
    return rules[0] if rules else {}


def _replica_key(given: Mapping[str, Json], region: str) -> str:
    for replica in given.get("Replicas", []):
        if replica["Region"] == region:
            return str(replica.get("SSESpecification", {}).get("KMSMasterKeyId", ""))
    return ""


def _arn(resource: Resource) -> str:
    return str(resource.placed.attributes["Arn"])
