"""Which modules run compiled by mypyc, and where: the one choice between a build and its sources.

The sources are what is read, edited and debugged. Where `python -m scripts.compile` has left a build of exactly these
for this interpreter, imports take it from there; else they run as they are written, slower and otherwise the same.
BURSA_BUILD=interpreted keeps to the sources.
"""

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

CHOICE: Final = "BURSA_BUILD"
INTERPRETED: Final = "interpreted"
RUNTIME: Final = Path(__file__).resolve().parent.parent


class Build(NamedTuple):
    """Modules of one package that are compiled together, so that they call each other without Python between them."""

    package: str
    """A package of `runtime/`; so are its modules and those of `typed_with` named below it."""
    modules: tuple[str, ...]
    typed_with: tuple[str, ...]
    """What else they import of ours, as `package/module`: compiled code holds its constants and relies on its types."""

    def folder(self) -> Path:
        """Return where a build of these very sources for this interpreter lies, or would lie."""
        digest = sha256(sys.version.encode())
        for name in (*(f"{self.package}/{module}" for module in self.modules), *self.typed_with):
            digest.update((RUNTIME / f"{name}.py").read_bytes())
        return RUNTIME.parent / ".build" / "compiled" / self.package / digest.hexdigest()[:16]

    def take(self, path: list[str]) -> bool:
        """Put the build in front of `path`, that of the package, if there is one to take; return whether there is."""
        if os.environ.get(CHOICE) == INTERPRETED or not (folder := self.folder()).is_dir():
            return False
        path.insert(0, str(folder))
        return True


BUILDS: Final = {
    build.package: build
    for build in (
        # What runs for each command.
        Build(
            "engine",
            ("accounts", "auction", "book", "engine", "market", "rules", "sessions", "trading", "triggers"),
            ("shared/messages",),
        ),
        # What runs for each order, from its texts to the command.
        Build(
            "gateway",
            ("limits", "listings", "orders", "params"),
            (
                "gateway/errors",
                "gateway/limit_models",
                "shared/catalogue",
                "shared/market_messages",
                "shared/messages",
                "shared/money",
            ),
        ),
    )
}
"""By package."""


def here() -> list[Build]:
    """Return the builds of the packages that are here: an image has those of its service."""
    return [build for build in BUILDS.values() if (RUNTIME / build.package).is_dir()]


def missing() -> list[str]:
    """Return which packages that are here lack their build."""
    return [build.package for build in here() if not build.folder().is_dir()]
