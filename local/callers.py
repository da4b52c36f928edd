"""Who makes a call to the embedded AWS: a role, or a service of AWS for a resource. Each has a key of its own."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose grants decide on a call. Exactly one of `role` and `service` is given."""

    role: str = ""
    """ARN of a role."""
    service: str = ""
    """Principal of a service, such as `events.amazonaws.com`."""
    source: str = ""
    """ARN of the resource that the service acts for."""

    @property
    def key(self) -> str:
        """Return the access key that tells this caller from all others."""
        told = f"{self.role}\n{self.service}\n{self.source}"
        return "LOCAL" + hashlib.sha256(told.encode()).hexdigest()[:15].upper()

    def __str__(self) -> str:
        """Say who it is, for errors and the record of calls."""
        return self.role or (f"{self.service} for {self.source}" if self.source else self.service)
