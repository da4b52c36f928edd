"""Where the local run keeps what it writes: one folder, `.local/` unless LOCAL_DIR names another."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

PROJECT: Final = Path(__file__).resolve().parent.parent
"""Root of the checkout: where `app.py` and `runtime/` lie."""
PRIVATE_FOLDER: Final = 0o700


@dataclass(frozen=True, slots=True)
class Layout:
    """Every path of one local run. Two runs with different roots share nothing."""

    root: Path

    @classmethod
    def from_environment(cls) -> Self:
        """Return the layout under LOCAL_DIR, or under `.local/` of the project."""
        return cls(Path(os.environ.get("LOCAL_DIR") or PROJECT / ".local").absolute())

    @property
    def demo(self) -> Path:
        """What a client needs to trade: addresses and the keys of the demo accounts."""
        return self.root / "demo.json"

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.root / "logs"

    @property
    def state(self) -> Path:
        """What outlives a stop: journal, database, the embedded AWS's log, keys."""
        return self.root / "state"

    @property
    def run(self) -> Path:
        """What is true only while the launcher runs: lock, status, process ids."""
        return self.root / "run"

    @property
    def outages(self) -> Path:
        """Which stores are out on purpose, and until when."""
        return self.run / "outages"

    @property
    def grants(self) -> Path:
        """Each different call of a run, and which statement allowed it."""
        return self.root / "grants.jsonl"

    @property
    def resources(self) -> Path:
        """What was created for real, what only recorded, and why."""
        return self.root / "resources.txt"

    @property
    def policies(self) -> Path:
        """The policies of a run, resolved."""
        return self.root / "policies.json"

    @property
    def assembly(self) -> Path:
        """The synthesized cloud assembly."""
        return self.root / "cdk.out"

    def create(self) -> None:
        """Create the folders. Only their owner may look inside the state."""
        for folder in (self.root, self.logs, self.state, self.run):
            folder.mkdir(parents=True, exist_ok=True)
        # Passing through is allowed (the database may have to run as another user), looking around is not.
        self.state.chmod(0o711)


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` in one step with a file that only its owner can read; durable when this returns."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
