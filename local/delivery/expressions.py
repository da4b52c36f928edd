"""When a schedule fires: `rate(5 minutes)`, `cron(0 17 * * ? *)`, `at(2026-01-31T00:00:00)`. Pure.

A cron expression has six fields: minutes, hours, day of month, month, day of week (1 is Sunday), year. Of the two days
one is `?`. `L`, `W` and `#` are understood as in EventBridge.
"""

import calendar
import re
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

_MONTHS: Final = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {"SUN": 1, "MON": 2, "TUE": 3, "WED": 4, "THU": 5, "FRI": 6, "SAT": 7}
_UNITS: Final = {"minute": 60, "hour": 3600, "day": 86_400}
_YEARS: Final = (1970, 2199)
_DAYS_MAX: Final = 366 * 8
"""The 29th of February comes back within eight years."""


class ExpressionError(ValueError):
    """A schedule's expression cannot be understood. The message shows it."""


@dataclass(frozen=True, slots=True)
class Rate:
    """Every so many seconds, counted from when the schedule was made."""

    seconds: int

    def after(self, moment: datetime, made: datetime) -> datetime:
        """Return the first time after `moment`."""
        passed = max(0.0, (moment - made).total_seconds())
        return made + timedelta(seconds=(int(passed // self.seconds) + 1) * self.seconds)


@dataclass(frozen=True, slots=True)
class At:
    """Once."""

    moment: datetime

    def after(self, moment: datetime, made: datetime) -> datetime | None:  # noqa: ARG002 - the same form as Rate
        """Return the time, if it is after `moment`."""
        return self.moment if self.moment > moment else None


@dataclass(frozen=True, slots=True)
class Cron:
    """At every minute that fits all fields, in the schedule's own time zone."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]
    zone: tzinfo

    def after(self, moment: datetime, made: datetime) -> datetime | None:  # noqa: ARG002 - the same form as Rate
        """Return the first time after `moment`, or None when there is none within eight years."""
        local = moment.astimezone(self.zone)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        for _ in range(_DAYS_MAX):
            if day.year in self.years and day.month in self.months and self._fits(day):
                for hour in sorted(self.hours):
                    for minute in sorted(self.minutes):
                        fits = day.replace(hour=hour, minute=minute, tzinfo=self.zone)
                        if fits > moment:
                            return fits
            day += timedelta(days=1)
        return None

    def _fits(self, day: datetime) -> bool:
        last = calendar.monthrange(day.year, day.month)[1]
        if self.weekdays == "?":
            return _fits_day(self.days, day, last)
        return _fits_weekday(self.weekdays, day, last)


def parse(expression: str, zone: tzinfo) -> Rate | At | Cron:
    """Return the schedule of an expression. Raises ExpressionError."""
    found = re.fullmatch(r"(rate|at|cron)\((.+)\)", expression.strip())
    if found is None:
        raise ExpressionError(f"a schedule is rate(…), cron(…) or at(…), was {expression!r}")
    kind, body = found.groups()
    try:
        match kind:
            case "rate":
                return _rate(body)
            case "at":
                return At(datetime.fromisoformat(body).replace(tzinfo=zone))
        return _cron(body, zone)
    except (ValueError, KeyError) as error:
        raise ExpressionError(f"{expression!r}: {error}") from None


def _rate(body: str) -> Rate:
    count, unit = body.split()
    seconds = int(count) * _UNITS[unit.removesuffix("s")]
    if seconds <= 0:
        raise ValueError("a rate is at least one")
    return Rate(seconds)


def _cron(body: str, zone: tzinfo) -> Cron:
    fields = body.upper().split()
    if len(fields) != 6:  # noqa: PLR2004 - the six of the module's docstring
        raise ValueError(f"a cron expression has six fields, this has {len(fields)}")
    minutes, hours, days, months, weekdays, years = fields
    if (days == "?") == (weekdays == "?"):
        raise ValueError("exactly one of day of month and day of week is ?")
    cron = Cron(
        _numbers(minutes, 0, 59),
        _numbers(hours, 0, 23),
        days,
        _numbers(months, 1, 12, _MONTHS),
        weekdays,
        _numbers(years, *_YEARS),
        zone,
    )
    cron._fits(datetime(2024, 2, 1))  # noqa: DTZ001, SLF001 - complains now about a day that cannot be understood
    return cron


def _numbers(field: str, first: int, last: int, names: dict[str, int] | None = None) -> frozenset[int]:
    """Return what a field such as `*/5`, `1-3,7` or `MON-FRI` stands for."""
    chosen: set[int] = set()
    for part in field.split(","):
        span, _slash, step = part.partition("/")
        low, dash, high = span.partition("-")
        start = first if low == "*" else _number(low, names)
        end = last if low == "*" or (step and not dash) else _number(high, names) if dash else start
        if not first <= start <= end <= last:
            raise ValueError(f"{part!r} is not within {first} to {last}")
        chosen.update(range(start, end + 1, int(step or 1)))
    return frozenset(chosen)


def _number(text: str, names: dict[str, int] | None) -> int:
    return names[text] if names and text in names else int(text)


def _fits_day(field: str, day: datetime, last: int) -> bool:
    if field == "L":
        return day.day == last
    if field.startswith("L-"):
        return day.day == last - int(field[2:])
    if field.endswith("W"):
        return day.day == _nearest_weekday(day.year, day.month, int(field[:-1]), last)
    return day.day in _numbers(field, 1, 31)


def _nearest_weekday(year: int, month: int, wanted: int, last: int) -> int:
    match calendar.weekday(year, month, min(wanted, last)):
        case calendar.SATURDAY:
            return wanted - 1 if wanted > 1 else wanted + 2
        case calendar.SUNDAY:
            return wanted + 1 if wanted < last else wanted - 2
    return wanted


def _fits_weekday(field: str, day: datetime, last: int) -> bool:
    number = day.isoweekday() % 7 + 1
    if "#" in field:
        weekday, _hash, which = field.partition("#")
        return number == _number(weekday, _DAYS) and (day.day - 1) // 7 + 1 == int(which)
    if field == "L":
        return number == 7  # noqa: PLR2004 - Saturday
    if field.endswith("L"):
        return number == _number(field[:-1], _DAYS) and day.day + 7 > last
    return number in _numbers(field, 1, 7, _DAYS)
