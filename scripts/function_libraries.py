"""`python -m scripts.function_libraries`: fetch what functions import, as wheels for Graviton, each held to its hash.

fetch   fill .build/lambda from runtime/functions-requirements.txt, and with the roots of RDS (`make deps`)
lock    write that file anew, with the versions of constraints.txt and the hashes of the wheels of today
"""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = ROOT / "runtime" / "functions-requirements.txt"
CONSTRAINTS: Final = ROOT / "constraints.txt"
TARGET: Final = ROOT / ".build" / "lambda"
PYTHON_VERSION: Final = "3.14"
"""What `FunctionPlatform` runs functions on."""
DATABASE_AUTHORITIES: Final = "https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem"
"""Amazon's certificate authorities of RDS, which libpq verifies the database against; images have the same."""
DIRECT: Final = (
    "aws-lambda-powertools[tracer]",
    "boto3",
    "cryptography",
    "msgspec",
    "psycopg[binary]",
    "pydantic",
    "pydantic-settings",
)
"""What the code of functions imports; boto3 too, since the one that Lambda brings along changes without notice."""
HEADER: Final = """\
# What the functions import, for python {version} on Graviton: their layer holds this. Written by
# `python -m scripts.function_libraries lock` with the versions of ../constraints.txt; `make deps` takes no other file.
"""
_WHEELS_FOR: Final = (
    "--only-binary=:all:",
    "--implementation=cp",
    f"--python-version={PYTHON_VERSION}",
    "--platform=manylinux_2_28_aarch64",
    "--platform=manylinux2014_aarch64",
)


def fetch() -> None:
    """Replace .build/lambda with the locked wheels, unpacked, and what verifies the database.

    Raises CalledProcessError when a wheel is not as locked, OSError when Amazon's server does not answer.
    """
    shutil.rmtree(TARGET, ignore_errors=True)
    half_done = TARGET.with_name("lambda.partial")
    shutil.rmtree(half_done, ignore_errors=True)
    _pip("install", "--no-deps", "--no-compile", "--require-hashes", f"--target={half_done / 'python'}", f"-r{LOCK}")
    shutil.rmtree(half_done / "python" / "bin", ignore_errors=True)
    with urllib.request.urlopen(DATABASE_AUTHORITIES, timeout=60) as roots:
        (half_done / "python" / "rds.pem").write_bytes(roots.read())
    half_done.rename(TARGET)


def lock() -> None:
    """Write the file of names, versions and hashes anew."""
    with tempfile.TemporaryDirectory() as folder:
        _pip("download", f"--constraint={CONSTRAINTS}", f"--dest={folder}", *DIRECT)
        LOCK.write_text(HEADER.format(version=PYTHON_VERSION) + "".join(_locked(Path(folder).glob("*.whl"))))


def _locked(wheels: Iterable[Path]) -> list[str]:
    """Return a line for each wheel: its name and version are the first two parts of its file name."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lines.append(f"{name.lower().replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n")
    return sorted(lines)


def _pip(command: str, *arguments: str) -> None:
    subprocess.run(  # noqa: S603 - the project's own pip
        [sys.executable, "-m", "pip", command, "--quiet", "--disable-pip-version-check", *_WHEELS_FOR, *arguments],
        check=True,
    )


def main(arguments: list[str]) -> int:
    """Do what the one argument says; return the exit code."""
    match arguments[1:]:
        case ["fetch"]:
            fetch()
        case ["lock"]:
            lock()
        case _:
            sys.stderr.write(str(__doc__) + "\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
