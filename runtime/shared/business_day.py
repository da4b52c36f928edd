"""The business day: from midnight to midnight in Jakarta. Pure.

Western Indonesian time is UTC+7 all year, so no table of time zones is needed.
"""

from datetime import date, datetime, timedelta, timezone
from typing import Final

JAKARTA: Final = timezone(timedelta(hours=7), "WIB")
_EPOCH: Final = date(1970, 1, 1)
DAY_US: Final = 24 * 3600 * 1_000_000
_OFFSET_US: Final = 7 * 3600 * 1_000_000


def day_of(time_us: int) -> date:
    """Return the business day of a moment in microseconds since 1970 (UTC)."""
    return _EPOCH + timedelta(days=(time_us + _OFFSET_US) // DAY_US)


def bounds_us(day: date) -> tuple[int, int]:
    """Return the first microsecond of `day` and the first one after it."""
    start = (day - _EPOCH).days * DAY_US - _OFFSET_US
    return start, start + DAY_US


def text_of(time_us: int) -> str:
    """Return a moment as ISO 8601 in Jakarta's time, with microseconds."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, JAKARTA).replace(microsecond=time_us % 1_000_000)
    return moment.isoformat(timespec="microseconds")
