"""Buckets and their policies.

moto takes the condition of CDK's `enforce_ssl` statement as met and would refuse every object, so only statements
without a condition are put; grants are checked elsewhere.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, Wanted, provides, text
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_REGION_WITHOUT_CONSTRAINT: Final = "us-east-1"


@provides("AWS::S3::Bucket")
class Bucket(Provider):
    """A bucket with its versions, encryption, lifecycle and locks."""

    dropped = MappingProxyType(
        {
            "AccessControl": "moto would let an ACL decide, AWS lets policies",
            "LoggingConfiguration": "moto writes no access records",
            "ReplicationConfiguration": "nothing is copied from bucket to bucket here",
            "MetricsConfigurations": "no metric of requests is published here",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the bucket, then set what it was given."""
        s3 = cloud.client("s3", wanted.region)
        name = wanted.name("BucketName", limit=63).lower()
        given = wanted.properties
        where = {} if wanted.region == _REGION_WITHOUT_CONSTRAINT else {"LocationConstraint": wanted.region}
        s3.create_bucket(
            Bucket=name,
            ObjectLockEnabledForBucket=bool(given.get("ObjectLockEnabled")),
            **({"CreateBucketConfiguration": where} if where else {}),
        )
        for key, call, argument in _SETTINGS:
            if key in given:
                getattr(s3, call)(Bucket=name, **{argument: _api(key, given[key])})
        return Placed(name, _attributes(name, wanted.region))

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return every setting that was given."""
        s3 = cloud.client("s3", wanted.region)
        found: dict[str, Json] = {"BucketName": placed.ref}
        for key, call, argument in _SETTINGS:
            if key in wanted.properties:
                told = getattr(s3, call.replace("put_", "get_", 1))(Bucket=placed.ref)
                found[key] = told if key in _TOLD_BARE else told[argument]
        if wanted.properties.get("ObjectLockEnabled"):
            lock = s3.get_object_lock_configuration(Bucket=placed.ref)["ObjectLockConfiguration"]
            found["ObjectLockEnabled"] = lock["ObjectLockEnabled"] == "Enabled"
        return found

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the settings in the spelling of the API."""
        return {key: _api(key, value) for key, value in wanted.properties.items()}


_SETTINGS: Final = (
    ("VersioningConfiguration", "put_bucket_versioning", "VersioningConfiguration"),
    ("BucketEncryption", "put_bucket_encryption", "ServerSideEncryptionConfiguration"),
    ("PublicAccessBlockConfiguration", "put_public_access_block", "PublicAccessBlockConfiguration"),
    ("OwnershipControls", "put_bucket_ownership_controls", "OwnershipControls"),
    ("LifecycleConfiguration", "put_bucket_lifecycle_configuration", "LifecycleConfiguration"),
    ("ObjectLockConfiguration", "put_object_lock_configuration", "ObjectLockConfiguration"),
    ("CorsConfiguration", "put_bucket_cors", "CORSConfiguration"),
)
_TOLD_BARE: Final = frozenset({"VersioningConfiguration", "LifecycleConfiguration", "CorsConfiguration"})


@provides("AWS::S3::BucketPolicy")
class BucketPolicy(Provider):
    """The unconditional part of a bucket's policy."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Put those statements that hold always."""
        bucket = wanted.properties["Bucket"]
        document = _unconditional(wanted)
        if document["Statement"]:
            cloud.client("s3", wanted.region).put_bucket_policy(Bucket=bucket, Policy=text(document))
        return Placed(bucket)

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the policy."""
        found: dict[str, Json] = {"Bucket": placed.ref, "PolicyDocument": _unconditional(wanted)}
        if found["PolicyDocument"]["Statement"]:
            found["PolicyDocument"] = cloud.client("s3", wanted.region).get_bucket_policy(Bucket=placed.ref)["Policy"]
        return found

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the policy without its conditional statements."""
        return {**wanted.properties, "PolicyDocument": _unconditional(wanted)}


def _unconditional(wanted: Wanted) -> dict[str, Json]:
    document = wanted.properties["PolicyDocument"]
    return {**document, "Statement": [each for each in document["Statement"] if "Condition" not in each]}


def _attributes(name: str, region: str) -> dict[str, Json]:
    return {
        "Arn": f"arn:aws:s3:::{name}",
        "DomainName": f"{name}.s3.amazonaws.com",
        "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
        "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
        "WebsiteURL": f"http://{name}.s3-website.{region}.amazonaws.com",
    }


def _api(key: str, value: Json) -> Json:
    """Return one setting as the API spells it."""
    match key:
        case "BucketEncryption":
            return {"Rules": [_encryption_rule(rule) for rule in value["ServerSideEncryptionConfiguration"]]}
        case "LifecycleConfiguration":
            return {"Rules": [_lifecycle_rule(rule) for rule in value["Rules"]]}
        case "CorsConfiguration":
            return {"CORSRules": [_cors_rule(rule) for rule in value["CorsRules"]]}
        case "BucketName":
            return value.lower()
    return value


def _encryption_rule(rule: Mapping[str, Json]) -> dict[str, Json]:
    by_default = rule["ServerSideEncryptionByDefault"]
    return {"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": rule.get("BucketKeyEnabled", False)}


def _cors_rule(rule: Mapping[str, Json]) -> dict[str, Json]:
    names = {"ExposedHeaders": "ExposeHeaders", "MaxAge": "MaxAgeSeconds", "Id": "ID"}
    return {names.get(key, key): value for key, value in rule.items()}


def _lifecycle_rule(rule: Mapping[str, Json]) -> dict[str, Json]:
    """Return a rule of a template in the API's words. Raises KeyError for a part that has no translation here."""
    api: dict[str, Json] = {"Filter": {"Prefix": rule.get("Prefix", "")}}
    for key, value in rule.items():
        match key:
            case "Prefix":
                continue
            case "TagFilters" if len(value) == 1 and "Prefix" not in rule:
                api["Filter"] = {"Tag": value[0]}
            case "Id":
                api["ID"] = value
            case "Status" | "NoncurrentVersionExpiration" | "AbortIncompleteMultipartUpload":
                api[key] = value
            case "ExpirationInDays":
                api["Expiration"] = {"Days": value}
            case "ExpiredObjectDeleteMarker":
                api["Expiration"] = {"ExpiredObjectDeleteMarker": value}
            case "Transitions":
                api[key] = [_transition(each, "Days") for each in value]
            case "NoncurrentVersionTransitions":
                api[key] = [_transition(each, "NoncurrentDays") for each in value]
            case _:
                raise KeyError(f"no translation for {key} of a lifecycle rule")
    return api


def _transition(transition: Mapping[str, Json], days: str) -> dict[str, Json]:
    return {days if key == "TransitionInDays" else key: value for key, value in transition.items()}
