"""Publishing the screen: every file to both places, the page last, Amplify told to take it."""

from pathlib import Path
from typing import Any

import pytest

from config.environments import DEV
from scripts.publish_site import CHECK_EACH_TIME, FOR_EVER, PublishError, files, publish


class Cloud:
    """Records what is asked of each service, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def client(self, service: str, region: str) -> Any:
        calls = self.calls

        class Client:
            def put_object(self, **given: Any) -> None:
                calls.append((region, "put", given))

            def start_deployment(self, **given: Any) -> dict[str, Any]:
                calls.append((region, "start", given))
                return {"jobSummary": {"jobId": "7"}}

            def describe_stacks(self, StackName: str) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
                outputs = {
                    "Dev-Web": {"AmplifyApp": "d1", "Bundles": "bundles"},
                    "Dev-EdgeStore": {"SiteCopyBucket": "copy"},
                }[StackName]
                return {"Stacks": [{"Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.items()]}]}

        assert service in {"s3", "amplify", "cloudformation"}
        return Client()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "app-1.js").write_text("1")
    (tmp_path / "index.html").write_text("<script src=assets/app-1.js>")
    (tmp_path / "z.svg").write_text("<svg/>")
    return tmp_path


def test_the_copy_in_jakarta_and_the_bundle_get_every_file_and_amplify_is_told_last(site: Path) -> None:
    cloud = Cloud()
    assert publish(DEV, site, cloud.client) == "7"
    put = [(region, given["Bucket"], given["Key"]) for region, what, given in cloud.calls if what == "put"]
    names = ["assets/app-1.js", "z.svg", "index.html"]
    assert put == [("ap-southeast-3", "copy", name) for name in names] + [
        ("ap-southeast-1", "bundles", name) for name in names
    ]
    region, what, given = cloud.calls[-1]
    assert (region, what) == ("ap-southeast-1", "start")
    assert (given["appId"], given["branchName"], given["sourceUrl"]) == ("d1", "live", "s3://bundles/")


def test_only_files_whose_name_changes_with_their_content_are_kept_for_ever(site: Path) -> None:
    cloud = Cloud()
    publish(DEV, site, cloud.client)
    kept = {given["Key"]: given["CacheControl"] for _, what, given in cloud.calls if what == "put"}
    assert kept == {"assets/app-1.js": FOR_EVER, "z.svg": CHECK_EACH_TIME, "index.html": CHECK_EACH_TIME}


def test_a_site_that_was_not_built_is_not_published(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match=r"index\.html is missing"):
        files(tmp_path)
