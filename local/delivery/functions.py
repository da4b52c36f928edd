"""From templates to functions: code, environment, limits, and where failed calls go."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from local.deploy import Deployment, Resource
from local.resolve import Json

MEMORY_MIB_BY_DEFAULT: Final = 128
TIMEOUT_S_BY_DEFAULT: Final = 3
RETRIES_BY_DEFAULT: Final = 2
EVENT_AGE_S_BY_DEFAULT: Final = 6 * 3600
_CDK_HASH: Final = re.compile(r"[0-9A-F]{8}$")


class FunctionError(ValueError):
    """A function cannot be run as its template declares it. The message names it and says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """One function, as the runner needs it."""

    name: str
    label: str
    """Stack and logical id, for logs and tables."""
    arn: str
    role: str
    """ARN of the role it acts as."""
    handler: str
    folder: Path
    environment: Mapping[str, str] = field(repr=False)
    memory_mib: int = MEMORY_MIB_BY_DEFAULT
    timeout_s: float = TIMEOUT_S_BY_DEFAULT
    concurrency_max: int | None = None
    """Reserved concurrency; None is the account's."""
    dead_letters: str = ""
    """ARN of where an asynchronous event goes that failed for the last time."""
    on_failure: str = ""
    on_success: str = ""
    retries_max: int = RETRIES_BY_DEFAULT
    event_age_s_max: float = EVENT_AGE_S_BY_DEFAULT
    cannot_run: str = ""
    """Why it cannot be run here; such a function answers every call with that."""

    @property
    def region(self) -> str:
        """The region it is deployed in."""
        return self.arn.split(":")[3]


def declared(deployment: Deployment, inline: Path) -> list[Function]:
    """Return every function of a deployment; code that stands in a template is written below `inline`."""
    configs = _invoke_configs(deployment)
    return [
        _function(resource, deployment, configs.get(resource.placed.ref, {}), inline)
        for resource in deployment.of_type("AWS::Lambda::Function")
    ]


def _function(resource: Resource, deployment: Deployment, config: Mapping[str, Json], inline: Path) -> Function:
    given = resource.wanted.properties
    name, arn = resource.placed.ref, str(resource.placed.attributes["Arn"])
    runtime = given.get("Runtime", "")
    cannot_run = "" if runtime.startswith("python") else f"only Python runs here, {runtime or 'an image'} does not"
    destinations = config.get("DestinationConfig", {})
    group = given.get("LoggingConfig", {}).get("LogGroup", f"/aws/lambda/{name}")
    memory = int(given.get("MemorySize", MEMORY_MIB_BY_DEFAULT))
    return Function(
        name=name,
        label=label(resource),
        arn=arn,
        role=given["Role"],
        handler=given.get("Handler", ""),
        folder=Path() if cannot_run else _folder(resource, deployment, inline),
        environment={
            **given.get("Environment", {}).get("Variables", {}),
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_LOG_GROUP_NAME": group,
            "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        },
        memory_mib=memory,
        timeout_s=float(given.get("Timeout", TIMEOUT_S_BY_DEFAULT)),
        concurrency_max=given.get("ReservedConcurrentExecutions"),
        dead_letters=given.get("DeadLetterConfig", {}).get("TargetArn", ""),
        on_failure=destinations.get("OnFailure", {}).get("Destination", ""),
        on_success=destinations.get("OnSuccess", {}).get("Destination", ""),
        retries_max=int(config.get("MaximumRetryAttempts", RETRIES_BY_DEFAULT)),
        event_age_s_max=float(config.get("MaximumEventAgeInSeconds", EVENT_AGE_S_BY_DEFAULT)),
        cannot_run=cannot_run,
    )


def label(resource: Resource) -> str:
    """Return stack and logical id without what only machines need."""
    stack = resource.wanted.stack.partition("-")[2] or resource.wanted.stack
    return f"{stack}-{_CDK_HASH.sub('', resource.wanted.logical_id)}"


def function_name(named: str) -> str:
    """Return the name in any of the ways to name a function: name, name:alias, ARN, ARN:alias."""
    _arn, found, rest = named.partition(":function:")
    return (rest if found else named).partition(":")[0]


def _folder(resource: Resource, deployment: Deployment, inline: Path) -> Path:
    code = resource.wanted.properties["Code"]
    if "ZipFile" in code:
        folder = inline / hashlib.sha256(resource.wanted.path.encode()).hexdigest()[:16]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.py").write_text(code["ZipFile"])
        return folder
    asset = deployment.assets.get(code.get("S3Key", ""))
    if asset is None or not asset.source.is_dir():
        raise FunctionError(f"{resource.wanted.path}: its code must be an asset folder or inline, was {code}")
    return asset.source.resolve()


def _invoke_configs(deployment: Deployment) -> dict[str, Mapping[str, Json]]:
    configs = deployment.of_type("AWS::Lambda::EventInvokeConfig")
    return {function_name(each.wanted.properties["FunctionName"]): each.wanted.properties for each in configs}


def by_name(functions: list[Function]) -> dict[tuple[str, str], Function]:
    """Return functions by region and name."""
    return dict(_named(functions))


def _named(functions: list[Function]) -> Iterator[tuple[tuple[str, str], Function]]:
    for function in functions:
        yield (function.region, function.name), function
