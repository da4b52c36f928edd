"""Synthesize every environment, or the one that ENV names, and hold it against five rule packs."""

import json
import os
import sys
from pathlib import Path

import aws_cdk as cdk

from config import region_guard
from config.model import ConfigError, load_environments, samples
from exchange_constructs.nag import rule_packs
from stacks.exchange_stage import ExchangeStage

settings = json.loads(Path(__file__).with_name("cdk.json").read_text())  # read here, so that the CDK CLI is not needed
app = cdk.App(context=settings["context"], outdir=os.environ.get("CDK_OUTDIR", settings["output"]))
try:
    chosen = app.node.try_get_context("ENV") or os.environ.get("ENV") or None
    for config in load_environments(chosen, account=os.environ.get("EMBEDDED_ACCOUNT")):
        if placeholders := ", ".join(samples(config)):
            sys.stderr.write(f"{config.name}: sample values stand for {placeholders}; a deployment needs true ones\n")
        ExchangeStage(app, config.name.title(), config=config)
except ConfigError as error:
    sys.exit(str(error))
cdk.Validations.of(app).add_plugins(*rule_packs(app))
if problems := region_guard.problems(Path(app.synth().directory)):
    sys.exit("\n".join(problems))
