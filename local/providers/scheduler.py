"""Schedules. moto keeps them; the clock in `local/delivery/` carries them out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from local.providers import Placed, Provider, Wanted, provides
from local.resolve import Json

if TYPE_CHECKING:
    from local.cloud import Cloud


@provides("AWS::Scheduler::ScheduleGroup")
class ScheduleGroup(Provider):
    """A group of schedules."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the group."""
        name = wanted.name("Name", limit=64)
        made = cloud.client("scheduler", wanted.region).create_schedule_group(Name=name)
        return Placed(name, {"Arn": made["ScheduleGroupArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the group."""
        told: dict[str, Json] = cloud.client("scheduler", wanted.region).get_schedule_group(Name=placed.ref)
        return told


@provides("AWS::Scheduler::Schedule")
class Schedule(Provider):
    """A schedule. moto keeps it; the clock in `local/delivery/` carries it out."""

    def create(self, wanted: Wanted, cloud: "Cloud") -> Placed:
        """Create the schedule."""
        name = wanted.name("Name", limit=64)
        made = cloud.client("scheduler", wanted.region).create_schedule(
            Name=name, **{key: value for key, value in wanted.properties.items() if key != "Name"}
        )
        return Placed(name, {"Arn": made["ScheduleArn"]})

    def read(self, wanted: Wanted, placed: Placed, cloud: "Cloud") -> Mapping[str, Json]:
        """Return the schedule."""
        told: dict[str, Json] = cloud.client("scheduler", wanted.region).get_schedule(
            Name=placed.ref, **wanted.pick("GroupName")
        )
        return {"GroupName": "default", "State": "ENABLED", **told}
