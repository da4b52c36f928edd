"""What a benchmark gives back, and how CPU time of other processes is read."""

import os
import platform
from pathlib import Path
from typing import Final

from msgspec import Struct

from runtime import engine, gateway

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Result(Struct, frozen=True, kw_only=True):
    """One line of the table. `ratio` is `value` to `baseline`, both in `unit`; None where there is no baseline."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    input: str = ""
    """What was measured, and what the baseline is."""
    python: str = platform.python_version()
    compiled: bool = engine.IS_COMPILED and gateway.IS_COMPILED
    """Whether everything ran compiled that can."""


def compared(name: str, value: float, baseline: float, *, unit: str, what: str) -> Result:
    """Return the result of comparing `value` with `baseline`."""
    return Result(name=name, value=value, unit=unit, baseline=baseline, ratio=value / baseline, input=what)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds, user and system, that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def percentiles(latencies_s: list[float]) -> str:
    """Return p50, p99 and p99.9 in milliseconds, as text."""
    ordered = sorted(latencies_s)
    picked = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 for share in (0.5, 0.99, 0.999))
    return " / ".join(f"{each:.1f}" for each in picked)
