"""The matching engine of one market group.

Its pure core (CORE) runs as it is written, or compiled by mypyc: where `python -m scripts.compile_engine` has left a
build of exactly these sources for this interpreter, imports of the core take it from there. Both give the same state,
byte for byte. BURSA_ENGINE=interpreted keeps to the sources.
"""

import os
import sys
from hashlib import sha256
from pathlib import Path
from typing import Final

CORE: Final = ("accounts", "auction", "book", "engine", "market", "rules", "sessions", "trading", "triggers")
"""Modules that are compiled together: what runs for each command."""
INTERPRETED: Final = "interpreted"
_FOLDER: Final = Path(__file__).resolve().parent


def compiled_folder() -> Path:
    """Return where a build of these very sources for this interpreter lies, or would lie."""
    digest = sha256(sys.version.encode())
    for source in (*(_FOLDER / f"{name}.py" for name in CORE), _FOLDER.parent / "shared" / "messages.py"):
        digest.update(source.read_bytes())
    return _FOLDER.parent.parent / ".build" / "engine" / digest.hexdigest()[:16]


IS_COMPILED: Final = os.environ.get("BURSA_ENGINE") != INTERPRETED and compiled_folder().is_dir()
"""Whether this process runs the compiled core."""
if IS_COMPILED:
    __path__.insert(0, str(compiled_folder()))
