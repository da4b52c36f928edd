"""What runs, as it is published: the image of each service, the code of functions.

The only module that knows where `runtime/` lies.
"""

import ast
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Final

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from config.model import Environment
from exchange_constructs.nag import accept
from runtime.shared.builds import BUILDS

ROOT: Final = Path(__file__).resolve().parent.parent.parent
ENGINE: Final = "engine"
MODEL: Final = "anomaly"
LIBRARIES = ROOT / ".build" / "lambda"
"""Where `make deps` puts what functions import; absent until a deployment needs it."""


class RuntimeImage(ecr_assets.DockerImageAsset):
    """The image of one service: its packages of `runtime/` and those they import. A change elsewhere leaves it.

    Built when a deployment publishes it, never at synth; modules that run compiled are compiled there.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment, service: str) -> None:
        """Describe the image of `runtime/<service>`, for Graviton. Raises ValueError if there is none."""
        compiled = service in BUILDS
        super().__init__(
            scope,
            construct_id,
            directory=str(ROOT),
            file="runtime/Dockerfile",
            target="compiled" if compiled else "model" if service == MODEL else "service",
            build_args={"BASE": str(config.images.base)},
            # Beyond what `.dockerignore` leaves out.
            exclude=[
                *(() if compiled else ("scripts",)),
                "runtime/*",
                "!runtime/__init__.py",
                "!runtime/Dockerfile",
                "!runtime/requirements.txt",
                *(f"!runtime/{package}" for package in sorted(_needed(service))),
                "**/__pycache__",
                "**/*.md",
            ],
            platform=ecr_assets.Platform.LINUX_ARM64,
            asset_name=f"bursa-{service.replace('_', '-')}",
        )


class ImagePull(iam.ManagedPolicy):
    """Pulling the images: one policy, which the role of whatever starts a service has."""

    def __init__(self, scope: Construct, construct_id: str, *, config: Environment) -> None:
        """Allow the one repository, which has every image."""
        super().__init__(scope, construct_id, description="Pulls the images of the services")
        RuntimeImage(self, "Image", config=config, service=ENGINE).repository.grant_pull(self)
        accept(
            self,
            "AwsSolutions-IAM5[Resource::*]",
            reason="ecr:GetAuthorizationToken knows no resources; what may be pulled is bounded to one repository",
            expires=date(2027, 11, 20),
        )


class JobArchive(s3_assets.Asset):
    """The code of a Flink job: as a function's, with what lies in `.build/flink`."""

    def __init__(self, scope: Construct, construct_id: str, *, service: str) -> None:
        """Describe the archive of `runtime/<service>`. Raises ValueError if there is none."""
        super().__init__(
            scope,
            construct_id,
            path=str(ROOT),
            ignore_mode=IgnoreMode.GIT,
            exclude=[
                *_all_but(service),
                "!/.build",
                "/.build/*",
                "!/.build/flink",
            ],
        )

    def grant_fetch(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` read this archive, and nothing else of the bucket."""
        iam.Grant.add_to_principal(
            grantee=grantee,
            actions=["s3:GetObject", "s3:GetObjectVersion"],
            resource_arns=[self.bucket.arn_for_objects(self.s3_object_key)],
        )


class GlueCode(Construct):
    """The code of a Glue job: the file it begins with, and the packages that this imports, as tests import them."""

    def __init__(self, scope: Construct, construct_id: str, *, service: str, entry: str) -> None:
        """Describe `runtime/<service>/<entry>` and its packages. Raises ValueError if there is no such service."""
        super().__init__(scope, construct_id)
        self.script = s3_assets.Asset(self, "Script", path=str(ROOT / "runtime" / service / entry))
        self.packages = s3_assets.Asset(
            self, "Packages", path=str(ROOT), ignore_mode=IgnoreMode.GIT, exclude=_all_but(service)
        )

    def grant_fetch(self, grantee: iam.IGrantable) -> None:
        """Let `grantee` read both objects, and nothing else of the bucket."""
        for asset in (self.script, self.packages):
            iam.Grant.add_to_principal(
                grantee=grantee,
                actions=["s3:GetObject", "s3:GetObjectVersion"],
                resource_arns=[asset.bucket.arn_for_objects(asset.s3_object_key)],
            )


def function_code(service: str) -> lambda_.Code:
    """Return `runtime/<service>` and every package of `runtime/` that it imports, under the same import paths.

    A change to a service that it does not import leaves the code, and so the function, as it is.
    Raises ValueError for a service that is not there.
    """
    return lambda_.Code.from_asset(str(ROOT), ignore_mode=IgnoreMode.GIT, exclude=_all_but(service))


def _all_but(service: str) -> list[str]:
    """Return the patterns that leave out everything but `service` and what it imports."""
    return [
        "/*",
        "!/runtime",
        "/runtime/*",
        "!/runtime/__init__.py",
        *(f"!/runtime/{package}" for package in sorted(_needed(service))),
        "__pycache__",
        "*.so",
        "*.md",
    ]


def function_libraries() -> lambda_.Code | None:
    """Return what `make deps` fetched for functions, or None where it has not run: synth fetches nothing."""
    return lambda_.Code.from_asset(str(LIBRARIES)) if (LIBRARIES / "python").is_dir() else None


def _needed(service: str) -> set[str]:
    """Return `service` and the packages of `runtime/` that it imports, directly or through others."""
    if not (ROOT / "runtime" / service / "__init__.py").exists():
        known = ", ".join(sorted(path.parent.name for path in (ROOT / "runtime").glob("*/__init__.py")))
        raise ValueError(f"service must be a package in runtime/ ({known}), was {service!r}")
    found: set[str] = set()
    waiting = {service, "shared"}
    while waiting:
        package = waiting.pop()
        found.add(package)
        waiting |= _imported(package) - found
    return found


@cache
def _imported(package: str) -> frozenset[str]:
    """Return the packages of `runtime/` that the modules of `package` name in import statements."""
    return frozenset(
        parts[1]
        for path in (ROOT / "runtime" / package).rglob("*.py")
        for name in _names(ast.parse(path.read_text()))
        if (parts := name.split("."))[0] == "runtime" and len(parts) > 1
    )


def _names(node: ast.AST) -> Iterator[str]:
    """Yield what the statements below `node` import; no expression holds one, and most of a module is expressions."""
    for each in ast.iter_child_nodes(node):
        if isinstance(each, ast.Import):
            yield from (alias.name for alias in each.names)
        elif isinstance(each, ast.ImportFrom) and each.module and each.level == 0:
            # `from runtime import ledger` names the package last
            yield from (f"{each.module}.{alias.name}" for alias in each.names)
        elif isinstance(each, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield from _names(each)
