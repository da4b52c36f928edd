"""What one process is, wherever it runs: its name, its command, its port and its environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NAMESPACE: Final = "bursa.internal"
"""Private DNS zone in which services find each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One service as it is started: `python -m module` in its image."""

    service: str
    """Name in logs and in SERVICE, such as market_data."""
    module: str
    port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """What this service needs beside the variables of every service."""

    @property
    def command(self) -> list[str]:
        """The command line."""
        return ["python", "-m", self.module]

    @property
    def package(self) -> str:
        """The package of `runtime/` that it is, such as gateway."""
        return self.module.split(".")[1]

    @property
    def address(self) -> str:
        """host:port by which others in the network reach it."""
        return f"{self.host_name}.{NAMESPACE}:{self.port}"

    @property
    def host_name(self) -> str:
        """Its name in the private zone."""
        return self.service.replace("_", "-")

    def variables(self, catalogue_parameter: str) -> dict[str, str]:
        """Return the whole environment of the process."""
        return {
            "SERVICE": self.service,
            "LISTEN_HOST": "0.0.0.0",  # noqa: S104 - inside its own network interface, behind its security group
            "LISTEN_PORT": str(self.port),
            "CATALOGUE_PARAMETER": catalogue_parameter,
            **self.environment,
        }
