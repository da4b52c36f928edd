"""Runs schedules: rules with a schedule, and those of EventBridge Scheduler. The clock is given, so tests turn it."""

import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

from local.callers import Caller
from local.cloud import Cloud
from local.delivery import expressions, rules
from local.delivery.functions import label
from local.delivery.inputs import filled
from local.delivery.rules import RuleError
from local.delivery.targets import DeliveryError, Targets
from local.deploy import Deployment, Resource
from local.resolve import Json

logger = logging.getLogger(__name__)
_ON: Final = "ENABLED"


class UnknownScheduleError(LookupError):
    """No schedule, or more than one, goes by that name. The message lists those there are."""


@dataclass(slots=True)
class Schedule:
    """One schedule and what it does."""

    label: str
    when: expressions.Rate | expressions.At | expressions.Cron
    is_on: bool
    run: Callable[[datetime], None] = field(repr=False)
    made: datetime
    due: datetime | None = None


class Schedules:
    """All schedules of a deployment."""

    def __init__(self, deployment: Deployment, targets: Targets, cloud: Cloud, now: datetime) -> None:
        """Count from `now`. Raises RuleError for a target that nothing here delivers to."""
        self._targets = targets
        self._account = cloud.account
        self.all = [
            *(self._of_rule(each, now) for each in _rules(deployment)),
            *(self._of_scheduler(each, now) for each in deployment.of_type("AWS::Scheduler::Schedule")),
        ]
        for schedule in self.all:
            schedule.due = schedule.when.after(now, now) if schedule.is_on else None

    def due(self, now: datetime) -> list[Schedule]:
        """Return what is due at `now`, each once however late, and set its next time."""
        late = [schedule for schedule in self.all if schedule.due is not None and schedule.due <= now]
        for schedule in late:
            schedule.due = schedule.when.after(now, schedule.made)
        return late

    def named(self, name: str) -> Schedule:
        """Return the one schedule whose label is, or ends with, `name`. Raises UnknownScheduleError."""
        wanted = name.lower()
        found = [each for each in self.all if each.label.lower() == wanted]
        found = found or [each for each in self.all if each.label.lower().endswith(f"-{wanted}")]
        if len(found) != 1:
            known = ", ".join(sorted(each.label for each in self.all)) or "none"
            raise UnknownScheduleError(f"{len(found)} schedules are named {name!r}; there are: {known}")
        return found[0]

    def _of_rule(self, rule: Resource, now: datetime) -> Schedule:
        given = rule.wanted.properties
        arn = str(rule.placed.attributes["Arn"])

        def run(moment: datetime) -> None:
            event = rules.scheduled_event(rule, moment, self._account, str(uuid.uuid4()))
            for target in given.get("Targets", []):
                self._deliver(label(rule), partial(rules.deliver, target, event, arn, self._targets))

        when = expressions.parse(given["ScheduleExpression"], UTC)
        return Schedule(label(rule), when, given.get("State", _ON) == _ON, run, now)

    def _of_scheduler(self, schedule: Resource, now: datetime) -> Schedule:
        given = schedule.wanted.properties
        target: Mapping[str, Json] = given["Target"]
        if not self._targets.can_deliver(target["Arn"]):
            raise RuleError(f"{schedule.wanted.path}: nothing here delivers to {target['Arn']}")
        arn = str(schedule.placed.attributes["Arn"])

        def run(moment: datetime) -> None:
            values = {
                "aws.scheduler.schedule-arn": arn,
                "aws.scheduler.scheduled-time": moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "aws.scheduler.execution-id": str(uuid.uuid4()),
                "aws.scheduler.attempt-number": "1",
            }
            payload = filled(target.get("Input", "{}"), values)
            caller = Caller(role=target["RoleArn"])
            self._deliver(label(schedule), partial(self._targets.deliver, target["Arn"], payload, caller, target))

        zone = ZoneInfo(given.get("ScheduleExpressionTimezone", "UTC"))
        when = expressions.parse(given["ScheduleExpression"], zone)
        return Schedule(label(schedule), when, given.get("State", _ON) == _ON, run, now)

    @staticmethod
    def _deliver(name: str, deliver: Callable[[], None]) -> None:
        try:
            deliver()
        except DeliveryError as error:
            logger.warning("%s: %s", name, error)


def _rules(deployment: Deployment) -> list[Resource]:
    rules_ = deployment.of_type("AWS::Events::Rule")
    return [each for each in rules_ if "ScheduleExpression" in each.wanted.properties]
