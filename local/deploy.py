"""Deploys an assembly into an empty cloud: every resource is created and checked, or recorded for a stated reason.

There is no update and no deletion: each start deploys from nothing in seconds, and data is restored afterwards.
"""

import importlib
import json
import pkgutil
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER, ResourceNotFoundError  # type: ignore[import-untyped]

from local import providers
from local.assembly import Assembly, Asset, Stack
from local.cloud import Cloud
from local.providers import REGISTRY, Placed, Provider, ProviderError, Wanted, check
from local.recorded import RECORDED, record
from local.resolve import NO_VALUE, Json, ResolveError, Scope, UnknownNameError, holds, resolve, resolve_dynamic

REAL: Final = "real"
NOT_REAL: Final = "recorded"
_SSM_PARAMETER: Final = "AWS::SSM::Parameter::Value<"
_WITHOUT_SCHEMA: Final = ("AWS::CDK::Metadata", "Custom::")


class DeployError(RuntimeError):
    """A resource could not be placed. The message names it, what was tried and what came back."""


class UnsupportedTypeError(DeployError):
    """A type that is neither created nor recorded here, or that the region does not have."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as it was placed. `dropped` are properties that had no effect, known as such."""

    wanted: Wanted
    placed: Placed
    tier: str
    dropped: tuple[str, ...] = ()


@dataclass(slots=True)
class Deployment:
    """Everything placed so far, by path; what stacks told each other."""

    resources: dict[str, Resource] = field(default_factory=dict)
    outputs: dict[tuple[str, str], dict[str, Json]] = field(default_factory=lambda: defaultdict(dict))
    """By region and stack name."""
    exports: dict[tuple[str, str], Json] = field(default_factory=dict)
    """By region and name."""
    assets: dict[str, Asset] = field(default_factory=dict)
    """By object key: the folders and files whose code functions run."""

    def of_type(self, type_name: str) -> list[Resource]:
        """Return the resources of one type, in order of creation."""
        return [resource for resource in self.resources.values() if resource.wanted.type == type_name]

    def output(self, name: str) -> str:
        """Return the one output of that name. Raises DeployError when no stack has it, or several."""
        found = [str(outputs[name]) for outputs in self.outputs.values() if name in outputs]
        if len(found) != 1:
            raise DeployError(f"{len(found)} stacks have an output {name}; exactly one must")
        return found[0]

    def tiers(self) -> dict[str, Counter[str]]:
        """Return, for each tier, how many resources of which type are in it."""
        counts: dict[str, Counter[str]] = {REAL: Counter(), NOT_REAL: Counter()}
        for resource in self.resources.values():
            counts[resource.tier][resource.wanted.type] += 1
        return counts

    def dropped(self) -> dict[str, str]:
        """Return every property without effect as `Type.Property`, with the reason."""
        return {
            f"{resource.wanted.type}.{name}": REGISTRY[resource.wanted.type].dropped[name]
            for resource in self.resources.values()
            for name in resource.dropped
        }


def deploy(assembly: Assembly, cloud: Cloud, progress: Callable[[str], None] = lambda _text: None) -> Deployment:
    """Place every resource of every stack, in order. `progress` hears of each stack.

    Raises DeployError at the first resource that cannot be placed as its template wants it.
    """
    _load_providers()
    deployment = Deployment()
    for stack in assembly.stacks:
        scope = StackScope(stack, deployment, cloud)
        deployment.assets |= {asset.key: asset for asset in stack.assets}
        for logical_id, resource in stack.in_creation_order():
            if "Condition" in resource and not scope.condition(resource["Condition"]):
                continue
            path = stack.path(logical_id)
            try:
                deployment.resources[path] = _place(_wanted(stack, logical_id, resource, scope), cloud)
            except (ResolveError, ProviderError, KeyError, TypeError, ValueError) as error:
                raise DeployError(f"{path} ({resource['Type']}): {_told(error)}") from error
            except (ClientError, BotoCoreError) as error:
                raise DeployError(f"{path} ({resource['Type']}): the embedded AWS answered: {error}") from error
        _publish(stack, scope, deployment)
        progress(f"{stack.name}: {len(stack.resources)} resources")
    cloud.reseed()
    return deployment


def _wanted(stack: Stack, logical_id: str, resource: Mapping[str, Json], scope: Scope) -> Wanted:
    type_name = resource["Type"]
    create_only: list[str] = []
    if not type_name.startswith(_WITHOUT_SCHEMA):
        schema = _schema(type_name, stack.region, stack.path(logical_id))
        create_only = schema.schema.get("createOnlyProperties", [])
    return Wanted(
        stack=stack.name,
        logical_id=logical_id,
        type=type_name,
        region=stack.region,
        properties=resolve_dynamic(resolve(resource.get("Properties") or {}, scope), scope),
        create_only=frozenset(pointer.split("/")[2] for pointer in create_only),
    )


def _place(wanted: Wanted, cloud: Cloud) -> Resource:
    if wanted.type in RECORDED:
        return Resource(wanted, record(wanted, cloud), NOT_REAL)
    provider: Provider | None = REGISTRY.get(wanted.type)
    if provider is None:
        raise UnsupportedTypeError(
            f"{wanted.path}: {wanted.type} has no provider in local/providers/ and is not listed in local/recorded/"
        )
    cloud.seed(wanted.path)
    placed = provider.create(wanted, cloud)
    return Resource(wanted, placed, REAL, tuple(check(provider, wanted, placed, cloud)))


def _publish(stack: Stack, scope: Scope, deployment: Deployment) -> None:
    for name, output in (stack.template.get("Outputs") or {}).items():
        if "Condition" in output and not scope.condition(output["Condition"]):
            continue
        value = resolve(output["Value"], scope)
        deployment.outputs[stack.region, stack.name][name] = value
        if "Export" in output:
            deployment.exports[stack.region, resolve(output["Export"]["Name"], scope)] = value


class StackScope:
    """What the names in one stack stand for, given what has been placed so far."""

    def __init__(self, stack: Stack, deployment: Deployment, cloud: Cloud) -> None:
        """Look names up in `stack` first, in earlier stacks where a function says so."""
        self._stack = stack
        self._deployment = deployment
        self._cloud = cloud
        self._pseudo: Final[Mapping[str, Json]] = {
            "AWS::AccountId": stack.account,
            "AWS::NoValue": NO_VALUE,
            "AWS::NotificationARNs": [],
            "AWS::Partition": "aws",
            "AWS::Region": stack.region,
            "AWS::StackId": f"arn:aws:cloudformation:{stack.region}:{stack.account}:stack/{stack.name}/local",
            "AWS::StackName": stack.name,
            "AWS::URLSuffix": "amazonaws.com",
        }

    def ref(self, name: str) -> Json:
        """Return the value of a pseudo parameter, parameter or resource."""
        if name in self._pseudo:
            return self._pseudo[name]
        if name in self._stack.resources:
            return self._resource(name).placed.ref
        parameter = (self._stack.template.get("Parameters") or {}).get(name)
        if parameter is None:
            raise UnknownNameError(f"{self._stack.name} has no resource or parameter {name!r}")
        if "Default" not in parameter:
            raise UnknownNameError(f"parameter {name!r} of {self._stack.name} has no default")
        if parameter["Type"].startswith(_SSM_PARAMETER):
            return self._parameter(parameter["Default"])
        return parameter["Default"]

    def attribute(self, name: str, attribute: str) -> Json:
        """Return an attribute that CloudFormation would give too; any other is an error."""
        resource = self._resource(name)
        kind = resource.wanted.type
        if _schema(kind, resource.wanted.region, resource.wanted.path).get_atts.get(attribute) is None:
            raise UnknownNameError(f"{kind} has no attribute {attribute!r}")
        if attribute in resource.placed.attributes:
            return resource.placed.attributes[attribute]
        if attribute in resource.wanted.properties:
            return resource.wanted.properties[attribute]
        raise UnknownNameError(f"{kind}.{attribute} is legal, but nothing here gives it a value")

    def condition(self, name: str) -> bool:
        """Return whether a condition of the stack holds."""
        conditions = self._stack.template.get("Conditions") or {}
        if name not in conditions:
            raise UnknownNameError(f"{self._stack.name} has no condition {name!r}")
        return holds(conditions[name], self)

    def mapping(self, table: str, key: str, leaf: str) -> Json:
        """Return one value of a mapping."""
        try:
            return self._stack.template["Mappings"][table][key][leaf]
        except KeyError:
            raise UnknownNameError(f"{self._stack.name} has no mapping {table}/{key}/{leaf}") from None

    def exported(self, name: str) -> Json:
        """Return what an earlier stack exported."""
        exports = self._deployment.exports
        if (self._stack.region, name) not in exports:
            raise UnknownNameError(f"no earlier stack exports {name!r}")
        return exports[self._stack.region, name]

    def output(self, stack: str, name: str, region: str) -> Json:
        """Return an output of an earlier stack, in its own region or the one that the reference names."""
        where = region or self._stack.region
        outputs = self._deployment.outputs.get((where, stack), {})
        if name not in outputs:
            raise UnknownNameError(f"stack {stack!r} in {where} has no output {name!r} yet")
        return outputs[name]

    def zones(self, region: str) -> list[str]:
        """Return the first three zones of a region."""
        return [f"{region}{letter}" for letter in "abc"]

    def dynamic(self, service: str, reference: str) -> str:
        """Return the secret or parameter that a dynamic reference names."""
        if service == "secretsmanager":
            return self._secret(reference)
        name, _colon, _version = reference.partition(":")
        return self._parameter(name)

    def _resource(self, name: str) -> Resource:
        resource = self._deployment.resources.get(self._stack.path(name))
        if resource is None:
            raise UnknownNameError(f"{self._stack.name} has no resource {name!r} (or its condition does not hold)")
        return resource

    def _parameter(self, name: str) -> str:
        ssm = self._cloud.client("ssm", self._stack.region)
        return str(ssm.get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])

    def _secret(self, reference: str) -> str:
        arn, _marker, rest = reference.partition(":SecretString")
        key, stage, *_version = [*rest.lstrip(":").split(":"), ""]
        return read_secret(self._cloud, arn, key=key, stage=stage, region=self._stack.region)


def read_secret(cloud: Cloud, arn: str, *, key: str = "", stage: str = "", version: str = "", region: str = "") -> str:
    """Return a secret's text, or one key of its JSON. Raises UnknownNameError for a key it does not have."""
    which = {"VersionStage": stage} if stage else {}
    if version:
        which["VersionId"] = version
    client = cloud.client("secretsmanager", region or cloud.region)
    value = str(client.get_secret_value(SecretId=arn, **which)["SecretString"])
    if not key:
        return value
    fields = json.loads(value)
    if key not in fields:
        raise UnknownNameError(f"secret {arn} has no key {key!r}; it has {', '.join(sorted(fields))}")
    return str(fields[key])


@cache
def _schema(type_name: str, region: str, path: str) -> Json:
    try:
        return PROVIDER_SCHEMA_MANAGER.get_resource_schema(region, type_name)
    except ResourceNotFoundError as error:
        raise UnsupportedTypeError(f"{path}: {error}") from None


def _load_providers() -> None:
    for module in pkgutil.iter_modules(providers.__path__):
        importlib.import_module(f"{providers.__name__}.{module.name}")


def _told(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)
