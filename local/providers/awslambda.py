"""Functions and what calls them. moto keeps them; the runner in `local/delivery/` runs their code.

moto would echo every payload, would empty a queue whose mapping is enabled, and calls the function of a stream's
mapping though it is disabled: so functions get no code there, and sources forget their mappings.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from moto.backends import get_backend

from local.providers import Placed, Provider, ProviderError, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_GIVEN: Final = (
    "Architectures",
    "DeadLetterConfig",
    "Description",
    "Environment",
    "Handler",
    "MemorySize",
    "PackageType",
    "Role",
    "Runtime",
    "Timeout",
    "TracingConfig",
)


def _empty_archive() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("README"), "the code is run from its asset folder")
    return content.getvalue()


_ARCHIVE: Final = _empty_archive()


@provides("AWS::Lambda::Function")
class Function(Provider):
    """A function with its configuration; its code stays where the assembly has it."""

    ours = frozenset({"Code", "DeadLetterConfig", "LoggingConfig", "ReservedConcurrentExecutions"})
    dropped = MappingProxyType(
        {
            "Architectures": "a function runs on this machine's",
            "KmsKeyArn": "moto keeps variables in memory",
            "EphemeralStorage": "a function shares this machine's disk",
            "Layers": "a function imports from the project's own environment",
            "RecursiveLoop": "moto stops no loop",
            "RuntimeManagementConfig": "a function runs in the project's interpreter",
            "SnapStart": "a worker is started once for many functions",
            "VpcConfig": "networks are recorded only",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the function without its code."""
        client = cloud.client("lambda", wanted.region)
        name = wanted.name("FunctionName", limit=64)
        made = client.create_function(FunctionName=name, Code={"ZipFile": _ARCHIVE}, **wanted.pick(*_GIVEN))
        if "ReservedConcurrentExecutions" in wanted.properties:
            client.put_function_concurrency(FunctionName=name, **wanted.pick("ReservedConcurrentExecutions"))
        return Placed(name, {"Arn": made["FunctionArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the function's configuration."""
        told: dict[str, Json] = cloud.client("lambda", wanted.region).get_function_configuration(
            FunctionName=placed.ref
        )
        return told


@provides("AWS::Lambda::LayerVersion")
class LayerVersion(Provider):
    """A version of a layer, without its content."""

    ours = frozenset({"Content"})
    dropped = MappingProxyType({"CompatibleArchitectures": "a function runs on this machine's"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Publish the version."""
        made = cloud.client("lambda", wanted.region).publish_layer_version(
            LayerName=wanted.name("LayerName", limit=140),
            Content={"ZipFile": _ARCHIVE},
            **wanted.pick("CompatibleRuntimes", "Description", "LicenseInfo"),
        )
        return Placed(made["LayerVersionArn"], {"LayerVersionArn": made["LayerVersionArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the version."""
        name, version = placed.ref.split(":")[-2:]
        told = cloud.client("lambda", wanted.region).get_layer_version(LayerName=name, VersionNumber=int(version))
        return {**told, "LayerName": name}


@provides("AWS::Lambda::Version")
class Version(Provider):
    """A published version of a function. The runner has one code for all of them."""

    dropped = MappingProxyType(
        {
            "CodeSha256": "the code is run from its asset folder",
            "Description": "moto tells the function's",
            "ProvisionedConcurrencyConfig": "a worker is started on demand",
            "RuntimePolicy": "a function runs in the project's interpreter",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Publish the version."""
        made = cloud.client("lambda", wanted.region).publish_version(**wanted.pick("FunctionName", "Description"))
        arn = f"{made['FunctionArn'].removesuffix(':' + made['Version'])}:{made['Version']}"
        return Placed(arn, {"FunctionArn": arn, "Version": made["Version"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the version."""
        function, number = placed.ref.split(":")[-2:]
        versions = cloud.client("lambda", wanted.region).list_versions_by_function(FunctionName=function)["Versions"]
        (found,) = (each for each in versions if each["Version"] == number)
        return {**found, "FunctionName": function}


@provides("AWS::Lambda::Alias")
class Alias(Provider):
    """A name of a version."""

    dropped = MappingProxyType({"ProvisionedConcurrencyConfig": "a worker is started on demand"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Name the version."""
        made = cloud.client("lambda", wanted.region).create_alias(
            **wanted.pick("FunctionName", "FunctionVersion", "Name", "Description")
        )
        return Placed(made["AliasArn"], {"AliasArn": made["AliasArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the names tell all
        """Return the alias."""
        told = cloud.client("lambda", wanted.region).get_alias(**wanted.pick("FunctionName", "Name"))
        return {**told, "FunctionName": wanted.properties["FunctionName"]}


@provides("AWS::Lambda::Permission")
class Permission(Provider):
    """One statement in the policy of a function."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Add the statement."""
        statement = wanted.name(limit=100)
        cloud.client("lambda", wanted.region).add_permission(StatementId=statement, **wanted.properties)
        return Placed(statement, {"Id": statement})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the statement's parts."""
        told = cloud.client("lambda", wanted.region).get_policy(FunctionName=wanted.properties["FunctionName"])
        (found,) = (each for each in json.loads(told["Policy"])["Statement"] if each["Sid"] == placed.ref)
        principal = found["Principal"]
        conditions = {key: value for pairs in found.get("Condition", {}).values() for key, value in pairs.items()}
        return {
            "Action": found["Action"],
            "FunctionName": wanted.properties["FunctionName"],
            "Principal": next(iter(principal.values())) if isinstance(principal, dict) else principal,
            "SourceAccount": conditions.get("AWS:SourceAccount") or conditions.get("aws:SourceAccount"),
            "SourceArn": conditions.get("AWS:SourceArn") or conditions.get("aws:SourceArn"),
            "PrincipalOrgID": conditions.get("aws:PrincipalOrgID"),
            "FunctionUrlAuthType": conditions.get("lambda:FunctionUrlAuthType"),
            "InvokedViaFunctionUrl": conditions.get("lambda:InvokedViaFunctionUrl"),
        }


@provides("AWS::Lambda::Url")
class Url(Provider):
    """An address of a function."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the address."""
        made = cloud.client("lambda", wanted.region).create_function_url_config(
            FunctionName=wanted.properties["TargetFunctionArn"], **wanted.pick("AuthType", "Cors", "InvokeMode")
        )
        arn = made["FunctionArn"]
        return Placed(arn, {"FunctionArn": arn, "FunctionUrl": made["FunctionUrl"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the function tells all
        """Return the address's configuration."""
        target = wanted.properties["TargetFunctionArn"]
        told = cloud.client("lambda", wanted.region).get_function_url_config(FunctionName=target)
        return {**told, "TargetFunctionArn": target}


@provides("AWS::Lambda::EventInvokeConfig")
class EventInvokeConfig(Provider):
    """How often an asynchronous call is tried, and where it goes in the end. Carried out by the runner."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Set the configuration."""
        cloud.client("lambda", wanted.region).put_function_event_invoke_config(**wanted.properties)
        return Placed(f"{wanted.properties['FunctionName']}|{wanted.properties['Qualifier']}")

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:  # noqa: ARG002 - the function tells all
        """Return the configuration."""
        told = cloud.client("lambda", wanted.region).get_function_event_invoke_config(
            **wanted.pick("FunctionName", "Qualifier")
        )
        return {**told, **wanted.pick("FunctionName", "Qualifier")}


_BY_US: Final = frozenset(
    {
        "BisectBatchOnFunctionError",
        "DestinationConfig",
        "Enabled",
        "FilterCriteria",
        "FunctionResponseTypes",
        "MaximumBatchingWindowInSeconds",
        "MaximumRecordAgeInSeconds",
        "MaximumRetryAttempts",
        "ParallelizationFactor",
        "ScalingConfig",
        "TumblingWindowInSeconds",
    }
)


@provides("AWS::Lambda::EventSourceMapping")
class EventSourceMapping(Provider):
    """A mapping, inert in moto; the pollers in `local/delivery/` carry it out."""

    ours = _BY_US
    dropped = MappingProxyType({"KmsKeyArn": "filters are kept in memory", "MetricsConfig": "moto counts nothing"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the mapping, not enabled."""
        if unknown := wanted.properties.keys() - _BY_US - self.dropped.keys() - {*_SHOWN, "StartingPosition", "Tags"}:
            raise ProviderError(f"{wanted.path}: no rule for {wanted.type}.{', '.join(sorted(unknown))}")
        made = cloud.client("lambda", wanted.region).create_event_source_mapping(
            Enabled=False, **wanted.pick(*_SHOWN, "StartingPosition")
        )
        _mute(wanted.properties["EventSourceArn"])
        arn = f"arn:aws:lambda:{wanted.region}:{cloud.account}:event-source-mapping:{made['UUID']}"
        return Placed(made["UUID"], {"Id": made["UUID"], "EventSourceMappingArn": arn})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the mapping."""
        told = cloud.client("lambda", wanted.region).get_event_source_mapping(UUID=placed.ref)
        function = wanted.properties["FunctionName"]
        is_same = told["FunctionArn"].partition(":function:")[2] == function.rpartition(":function:")[2]
        return {
            **told,
            "FunctionName": function if is_same else told["FunctionArn"],
            "StartingPosition": wanted.properties.get("StartingPosition"),
        }


_SHOWN: Final = ("BatchSize", "EventSourceArn", "FunctionName")


def _mute(source: str) -> None:
    """Let a queue, stream or table of moto forget the functions that follow it."""
    _arn, _aws, service, region, account, name = source.split(":", 5)
    backend: Json = get_backend(service)[account][region]  # type: ignore[call-overload]
    match service:
        case "sqs":
            followed = backend.queues[name]
        case "kinesis":
            followed = backend.streams[name.partition("/")[2]]
        case _:
            followed = backend.tables[name.split("/")[1]]
    followed.lambda_event_source_mappings.clear()
