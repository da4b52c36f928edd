"""The canary goes the way of customers, keeps no secret, and may do nothing else."""

from typing import Any


def canary(exchange: Any) -> dict[str, Any]:
    ((_, found),) = [each for each in exchange.of_type("AWS::Lambda::Function") if each[0].startswith("Canary/")]
    return dict(found)


def test_it_trades_where_we_trade_by_our_public_name(exchange: Any) -> None:
    variables = canary(exchange)["Environment"]["Variables"]
    assert variables["EXCHANGE_URL"] == f"https://api.{exchange.config.domain}:443"
    assert variables["SYMBOL"] in exchange.config.catalogue.market_by_symbol
    names = [each for path, each in exchange.of_type("AWS::Route53::RecordSet") if path.startswith("Edge/")]
    assert f"api.{exchange.config.domain}." in {each["Name"] for each in names}


def test_it_is_the_only_function_in_the_tier_with_a_way_out(exchange: Any) -> None:
    subnets = {
        path: {exchange.text(each) for each in function["VpcConfig"]["SubnetIds"]}
        for path, function in exchange.of_type("AWS::Lambda::Function")
        if "VpcConfig" in function
    }
    outside = next(found for path, found in subnets.items() if path.startswith("Canary/"))
    assert [path for path, found in subnets.items() if found & outside] == [
        path for path in subnets if path.startswith("Canary/")
    ]


def test_its_key_signs_for_it_alone(exchange: Any) -> None:
    signing = [
        (path.partition("RoleGrants")[0], exchange.text(statement["Resource"]))
        for path, policy in exchange.of_type("AWS::IAM::ManagedPolicy")
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow" and "kms:Sign" in statement["Action"] and path.startswith("Canary/")
    ]
    assert [role for role, _ in signing] == ["Canary/Canary"]
    ((_, key),) = [each for each in exchange.of_type("AWS::KMS::Key") if each[0].startswith("Canary/")]
    assert (key["KeySpec"], key["KeyUsage"]) == ("RSA_2048", "SIGN_VERIFY")


def test_somebody_is_woken_when_it_fails_or_falls_silent(exchange: Any) -> None:
    ((_, alarm),) = [
        each for each in exchange.of_type("AWS::CloudWatch::Alarm") if each[1].get("MetricName") == "CanaryFailed"
    ]
    assert alarm["TreatMissingData"] == "breaching"
    assert "runbooks/canary.md" in str(alarm["AlarmDescription"])
