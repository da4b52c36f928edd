"""State machines. moto executes them; their tasks call back over HTTP and so meet our runner."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from local.providers import Placed, Provider, ProviderError, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud

_TYPE_BY_DEFAULT: Final = "STANDARD"


@provides("AWS::StepFunctions::StateMachine")
class StateMachine(Provider):
    """A state machine with its definition."""

    dropped = MappingProxyType(
        {
            "EncryptionConfiguration": "moto keeps executions in memory",
            "LoggingConfiguration": "moto writes no log of executions",
            "TracingConfiguration": "nothing is traced here",
        }
    )

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the machine."""
        name = wanted.name("StateMachineName", limit=80)
        made = cloud.client("stepfunctions", wanted.region).create_state_machine(
            name=name,
            definition=json.dumps(_definition(wanted)),
            roleArn=wanted.properties["RoleArn"],
            type=wanted.properties.get("StateMachineType", _TYPE_BY_DEFAULT),
        )
        arn = made["stateMachineArn"]
        return Placed(arn, {"Arn": arn, "Name": name})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the machine."""
        told = cloud.client("stepfunctions", wanted.region).describe_state_machine(stateMachineArn=placed.ref)
        return {
            "Definition": json.loads(told["definition"]),
            "RoleArn": told["roleArn"],
            "StateMachineName": told["name"],
            "StateMachineType": told["type"],
        }

    def view(self, wanted: Wanted) -> Mapping[str, Json]:
        """Return the machine with its definition as one document."""
        spelled = ("Definition", "DefinitionString", "DefinitionSubstitutions")
        kept = {key: value for key, value in wanted.properties.items() if key not in spelled}
        return {**kept, "Definition": _definition(wanted)}


@provides("AWS::StepFunctions::Activity")
class Activity(Provider):
    """A task that workers ask for."""

    dropped = MappingProxyType({"EncryptionConfiguration": "moto keeps tasks in memory"})

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the activity."""
        made = cloud.client("stepfunctions", wanted.region).create_activity(name=wanted.name("Name", limit=80))
        arn = made["activityArn"]
        return Placed(arn, {"Arn": arn, "Name": arn.rpartition(":")[2]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the activity."""
        told = cloud.client("stepfunctions", wanted.region).describe_activity(activityArn=placed.ref)
        return {"Name": told["name"]}


def _definition(wanted: Wanted) -> Json:
    """Return the document that the template gives as text or as an object, its own substitutions made."""
    given = wanted.properties
    if "Definition" in given:
        return given["Definition"]
    if "DefinitionString" not in given:
        raise ProviderError(
            f"{wanted.path}: a definition must stand in the template, in Definition or DefinitionString"
        )
    definition = str(given["DefinitionString"])
    for name, value in given.get("DefinitionSubstitutions", {}).items():
        definition = definition.replace(f"${{{name}}}", str(value))
    return json.loads(definition)
