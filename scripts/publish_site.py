"""`python -m scripts.publish_site ENV`: put the built trading screen where it is served from.

It goes to the bundle bucket, from which Amplify deploys it, and to the copy in Jakarta. Both buckets keep old versions;
going back is publishing an earlier build. Needs the stacks Web and EdgeStore of the environment, and credentials.
"""

import mimetypes
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3

from config.model import ConfigError, Environment, load_environments

SITE: Final = Path("web/dist")
BRANCH: Final = "live"
FOR_EVER: Final = "public, max-age=31536000, immutable"
"""For files whose name changes with their content."""
CHECK_EACH_TIME: Final = "no-cache"
_ARGUMENTS: Final = 2
Service = Any
"""A client of boto3, which has no types."""
Client = Callable[[str, str], Service]


class PublishError(RuntimeError):
    """Nothing was published, or not everything. The message says what was missing."""


def files(site: Path) -> list[Path]:
    """Return the files of a build, the page itself last: it is the one that names all others."""
    found = sorted(path for path in site.rglob("*") if path.is_file())
    page = site / "index.html"
    if page not in found:
        raise PublishError(f"{page} is missing: build the screen first (`make setup`)")
    return [path for path in found if path != page] + [page]


def upload(client: Service, bucket: str, site: Path) -> int:
    """Put every file of `site` into `bucket`; return how many."""
    names = files(site)
    for path in names:
        name = path.relative_to(site).as_posix()
        client.put_object(
            Bucket=bucket,
            Key=name,
            Body=path.read_bytes(),
            ContentType=mimetypes.guess_type(name)[0] or "application/octet-stream",
            CacheControl=FOR_EVER if name.startswith("assets/") else CHECK_EACH_TIME,
        )
    return len(names)


def publish(environment: Environment, site: Path, client: Client) -> str:
    """Publish `site`; `client` makes a client of a service in a region. Return the id of Amplify's deployment."""
    stage = environment.name.title()
    web = _outputs(client("cloudformation", environment.web_region), f"{stage}-Web")
    store = _outputs(client("cloudformation", environment.region), f"{stage}-EdgeStore")
    upload(client("s3", environment.region), store["SiteCopyBucket"], site)
    upload(client("s3", environment.web_region), web["Bundles"], site)
    started = client("amplify", environment.web_region).start_deployment(
        appId=web["AmplifyApp"],
        branchName=BRANCH,
        sourceUrl=f"s3://{web['Bundles']}/",
        sourceUrlType="BUCKET_PREFIX",
    )
    return str(started["jobSummary"]["jobId"])


def _outputs(client: Service, stack: str) -> dict[str, str]:
    (found,) = client.describe_stacks(StackName=stack)["Stacks"]
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def main(arguments: list[str]) -> int:
    """Publish for the environment that the arguments name."""
    if len(arguments) != _ARGUMENTS:
        sys.stderr.write("which environment? python -m scripts.publish_site dev\n")
        return 2
    try:
        (environment,) = load_environments(arguments[1])
        job = publish(environment, SITE, lambda service, region: boto3.client(service, region_name=region))
    except (ConfigError, PublishError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    print(f"published; Amplify deploys it as job {job}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
