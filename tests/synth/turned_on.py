"""Prod with everything on that is a switch, links to partners that are known, and libraries that were fetched.

`python -m tests.synth.turned_on FOLDER` synthesizes it under every rule pack: a process of its own, so that this goes
on beside the synthesis of what is committed. Prints the open findings and exits with 1 if there are any.
"""

import sys
from dataclasses import replace
from pathlib import Path

from config.analytics import (
    AnalyticsConfig,
    DashboardConfig,
    GrantsConfig,
    ModelConfig,
    SearchConfig,
    StreamJobConfig,
    TimeSeriesConfig,
    WarehouseConfig,
)
from config.model import Environment, checked, load_environments
from tests.conftest import synthesize

ALL_ON = AnalyticsConfig(
    stream_job=StreamJobConfig(on=True, parallelism=2),
    model=ModelConfig(trains=True, served_version=3),
    dashboard=DashboardConfig(on=True),
    grants=GrantsConfig(on=True),
    warehouse=WarehouseConfig(on=True),
    time_series=TimeSeriesConfig(on=True),
    search=SearchConfig(on=True),
)
VPN, LINE = "tgw-attach-0123456789abcdef0", "tgw-attach-0fedcba9876543210"


def environment() -> Environment:
    """Return it."""
    (prod,) = load_environments("prod")
    centres = tuple(replace(centre, vpn_attachment=VPN) for centre in prod.partners.data_centres)
    partners = replace(prod.partners, data_centres=centres, line_attachment=LINE)
    monitoring = replace(prod.monitoring, collects=True)
    return checked(replace(prod, partners=partners, analytics=ALL_ON, monitoring=monitoring))


def main(folder: Path) -> int:
    fetched = folder / "fetched" / "python"
    fetched.mkdir(parents=True)
    (fetched / "library.py").write_text("")
    told = synthesize([environment()], folder, fetched.parent)
    print(told)
    return bool(told)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
