"""The command line as typed: help that teaches and is instant, examples that parse, errors that say what next."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.cli import main, make_parser


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Every command's parser, those of families included."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command
                yield from commands(command)


COMMANDS = {command.prog: command for command in commands(make_parser())}


def examples(text: str) -> list[str]:
    """The command lines that a help text shows."""
    return [line.strip() for line in text.splitlines() if line.startswith("  workbench ")]


ALL_EXAMPLES = sorted(
    {line for parser in [make_parser(), *COMMANDS.values()] for line in examples(parser.epilog or "")}
)


def said(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command line."""
    try:
        code = main(argv)
    except SystemExit as leaving:
        code = int(leaving.code or 0)
    out = capsys.readouterr()
    return code, out.out, out.err


# ---------------------------------------------------------------- help


def test_the_commands_are_those_promised():
    families = {name.split()[1] for name in COMMANDS}
    running = {"demo", "rollout", "score", "train", "import", "export", "sql", "serve"}
    assert families == running | {
        "steer",
        "team",
        "fill",
        "bench",
        "papers",
        "users",
        "world",
        "models",
        "corpus",
        "check",
        "recover",
        "migrate",
        "dataset",
        "copy",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_has_a_summary_a_paragraph_and_examples(name: str, capsys: pytest.CaptureFixture[str]):
    code, text, _ = said([*name.split()[1:], "--help"], capsys)
    assert code == 0
    summary, paragraph = COMMANDS[name].description.split("\n\n", 1)
    assert "\n" not in summary and len(paragraph) > 40
    assert 2 <= len(examples(text)) <= 6


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is(name: str):
    silent = [action.dest for action in COMMANDS[name]._actions if not action.help and action.nargs != "A..."]
    assert not silent


@pytest.mark.parametrize("line", ALL_EXAMPLES)
def test_every_example_parses(line: str):
    make_parser().parse_args(shlex.split(line)[1:])


def test_every_command_named_in_a_help_exists():
    texts = [parser.format_help() for parser in [make_parser(), *COMMANDS.values()]]
    named = {name for text in texts for name in re.findall(r"`workbench ([a-z-]+(?: [a-z-]+)?)`", text)}
    assert named and {f"workbench {name}" for name in named} <= set(COMMANDS)


def test_rewards_and_methods_in_the_examples_exist():
    from workbench.rewards.expression import read_reward
    from workbench.training.method import METHODS

    read = [make_parser().parse_args(shlex.split(line)[1:]) for line in ALL_EXAMPLES]
    rewards = {args.reward for args in read if getattr(args, "reward", None) and not getattr(args, "load", None)}
    assert len(rewards) >= 3 and all(read_reward(text) for text in rewards)
    assert {args.method for args in read if getattr(args, "method", None)} <= set(METHODS)
    assert all(name in COMMANDS["workbench train"].format_help() for name in METHODS)


def test_the_defaults_that_help_promises_are_those_in_force():
    from workbench.commands.material import Habits
    from workbench.sampling.group import GroupSampler

    text = " ".join(COMMANDS["workbench train"].format_help().split())
    habits = Habits()
    for option, default in (
        ("turn-tokens", habits.turn_tokens),
        ("k", habits.k),
        ("turns", habits.turns),
        ("observation-tokens", habits.observation_tokens),
        ("batch", GroupSampler().batch),
    ):
        assert re.search(rf"--{option} N .*?\(default: (\d+)\)", text)[1] == str(default), option


@pytest.mark.parametrize("argv", [["--help"], ["rollout", "--help"], ["sql", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(argv: list[str]):
    code = (
        "import sys\nfrom workbench.cli import main\n"
        f"try: main({argv!r})\nexcept SystemExit: pass\n"
        "print('loaded:', *sorted({'numpy', 'pandas', 'torch', 'duckdb', 'transformers'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("argv", [[], ["corpus"], ["world"], ["models"]])
def test_a_family_alone_prints_its_help(argv: list[str], capsys: pytest.CaptureFixture[str]):
    code, out, err = said(argv, capsys)
    assert code == 0 and "examples:" in out and not err


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("rolout", ["invalid choice: 'rolout'", "Did you mean 'rollout'?", "'workbench --help'"]),
        ("rollout --limit -3", ["--limit", "at least 1", "'-3'", "'workbench rollout --help'"]),
        ("rollout --limit many", ["--limit", "'many'"]),
        ("rollout --temperature -0.5", ["--temperature", "at least 0", "'-0.5'"]),
        ("rollout --temperature nan", ["--temperature", "'nan'"]),
        ("rollout --lim 3", ["unrecognized arguments: --lim 3"]),  # no abbreviations
        ("train --lr 0", ["--lr", "above 0", "'0'"]),
        ("train --lora 0", ["--lora", "at least 1"]),
        ("corpus index c.jsonl --out i --b 2", ["--b", "at most 1", "'2'"]),
        ("corpus index c.jsonl", ["--out"]),
        ("corpus serve demo --port 70000", ["--port", "at most 65535"]),
        ("rollout --tasks nothing.jsonl --corpus demo", ["no file or folder nothing.jsonl"]),
        ("rollout --tasks questions.jsonl", ["questions.jsonl", "--corpus FILE"]),
        ("rollout --corpus nothing.jsonl", ["no file or folder nothing.jsonl"]),
        ("rollout --corpus demo http://127.0.0.1:1/retrieve", ["http://127.0.0.1:1/retrieve", "the only corpus"]),
        ("rollout --corpus http://127.0.0.1:1/retrieve", ["no answer from http://127.0.0.1:1/retrieve", "running?"]),
        ("rollout --policy models/smollm2", ["workbench models get smollm2 --out models/smollm2"]),
        ("rollout --policy ./nomodel", ["no model could be loaded from './nomodel'"]),
        ("rollout --template tgas", ["no template 'tgas'", "Did you mean 'tags'?"]),
        ("score r1", ["score needs a run and a reward"]),
        ("rollout --tasks taken.txt --corpus demo", ["taken.txt is no question set"]),
        ("score r1 'Mine()' --load mine.py", ["--load takes a Python file", "'mine.py'"]),
        ("train --reward 'ExactMatch() +'", ["cannot read the reward", "where it ends"]),
        ("score r1 ExactMach()", ["Did you mean 'ExactMatch'?"]),
        ("score r1 ExactMatch()", ["no lab in 'lab'", "workbench rollout --lab lab"]),
        ("sql", ["sql --tables"]),
        ("sql 'select 1' --lab nolab", ["no lab in 'nolab'"]),
        ("sql --tables stps", ["no table 'stps'", "Did you mean 'steps'?"]),
        ("train --resume lab/checkpoints/r1/update-00001 --lr 1", ["leave out --lr"]),
        ("world train-policy --template tag", ["no template 'tag'", "Did you mean 'tags'?"]),
        ("world build --out taken.txt/world", ["taken.txt"]),
        ("models get smollm", ["no model 'smollm'", "Did you mean 'smollm2'?"]),
        ("corpus search nothing x", ["no file or folder nothing"]),
        ("corpus show questions.jsonl", ["questions.jsonl, line 1", "needs a text"]),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line_that_says_what_next(
    line: str, says: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "questions.jsonl").write_text('{"id": "q1", "question": "Who?", "answers": ["me"]}\n')
    (tmp_path / "taken.txt").write_text("")
    code, _, err = said(shlex.split(line), capsys)
    told = err[err.index("workbench: ") :]  # after whatever was shown of the progress
    assert code == 2
    assert all(text in told for text in says), told
    assert "Traceback" not in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["questions.jsonl", "taken.txt"], "left something behind"


def test_debug_shows_where_an_error_came_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code, _, err = said(["sql", "select 1", "--lab", str(tmp_path / "no"), "--debug"], capsys)
    assert code == 2 and "Traceback" in err and err.splitlines()[-1].startswith("workbench: no lab in")
    code, _, err = said(["--debug", "sql", "select 1", "--lab", str(tmp_path / "no")], capsys)
    assert "Traceback" in err
