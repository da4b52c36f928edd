"""Synthesize every environment, or the one that ENV names, and hold it against five rule packs."""

import gc
import json
import os
import sys
from pathlib import Path

from config.model import ConfigError, load_environments, samples

gc.disable()  # all that is made here lives to the end: looking for what does not takes a tenth of the time
context = json.loads(os.environ.get("CDK_CONTEXT_JSON", "{}"))
try:
    environments = load_environments(
        context.get("ENV") or os.environ.get("ENV") or None, account=os.environ.get("EMBEDDED_ACCOUNT")
    )
except ConfigError as error:
    sys.exit(str(error))  # before the library is loaded, which takes seconds

import aws_cdk as cdk  # noqa: E402

from config import region_guard  # noqa: E402
from exchange_constructs.nag import rule_packs  # noqa: E402
from stacks.exchange_stage import ExchangeStage  # noqa: E402

settings = json.loads(Path(__file__).with_name("cdk.json").read_text())  # read here, so that the CDK CLI is not needed
app = cdk.App(context=settings["context"], outdir=os.environ.get("CDK_OUTDIR", settings["output"]))
for config in environments:
    if placeholders := ", ".join(samples(config)):
        sys.stderr.write(f"{config.name}: sample values stand for {placeholders}; a deployment needs true ones\n")
    try:
        ExchangeStage(app, config.name.title(), config=config)
    except ConfigError as error:  # an acceptance of a rule pack's finding that is wide or has expired
        sys.exit(str(error))
cdk.Validations.of(app).add_plugins(*rule_packs(app))
if problems := region_guard.problems(Path(app.synth().directory)):
    sys.exit("\n".join(problems))
