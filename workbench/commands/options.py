"""What the commands share: help that teaches, checks of what is typed, and the options that several of them have."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

Command = Callable[[argparse.Namespace], int | None]
"""Does what was asked; returns the exit code where that is not 0."""


class Lesson(argparse.RawDescriptionHelpFormatter):
    """Fills the paragraphs of a help text to the terminal's width and leaves its examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return super()._fill_text(text, width, indent)
        return "\n\n".join(textwrap.fill(" ".join(part.split()), min(width, 100)) for part in text.split("\n\n"))


class Parser(argparse.ArgumentParser):
    """One readable line for what was typed wrongly, and no abbreviations, which break when an option is added."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=Lesson, **settings)

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            near = difflib.get_close_matches(wrong[1], re.findall(r"[\w-]+", wrong[2]), n=1)
            message += f". Did you mean {near[0]!r}?" if near else ""
        self.exit(2, f"workbench: {message}\n  '{self.prog} --help' explains it, with examples\n")


def add_command(commands: Any, name: str, run: Command, lesson: str, *, kept: str = "nothing was changed") -> Parser:
    """A command whose help is `lesson`: a line that sums it up, a paragraph, and examples from "examples:" on.

    Args:
        run: what does it.
        kept: what Ctrl-C leaves behind, in a sentence; may name options, as in "{lab}".
    """
    parser = add_family(commands, name, lesson)
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of errors")
    parser.set_defaults(run=run, kept=kept)
    return parser


def add_family(commands: Any, name: str, lesson: str) -> Parser:
    """A command that only holds others. Alone it prints its help."""
    summary, _, rest = lesson.strip().partition("\n")
    text, mark, examples = rest.partition("examples:")
    parser = commands.add_parser(name, help=summary, description=f"{summary}\n{text.rstrip()}", epilog=mark + examples)
    parser.set_defaults(run=lambda args: parser.print_help(), kept="nothing was changed")
    return parser


# ---------------------------------------------------------------- what may be typed


def whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """An option's type: a whole number from `least` to `most`."""
    return _checked(int, "a whole number", least, most)


def number(least: float, most: float | None = None, *, above: bool = False) -> Callable[[str], float]:
    """An option's type: a number from `least` (or, with `above`, above it) to `most`."""
    return _checked(float, "a number", least, most, above)


def _checked(
    read: Callable[[str], Any], what: str, least: float, most: float | None, above: bool = False
) -> Callable[[str], Any]:
    wanted = f"must be {what} {'above' if above else 'of at least'} {least}" + (f" and at most {most}" if most else "")

    def value_of(text: str) -> Any:
        try:
            value = read(text)
        except ValueError:
            value = math.nan
        if not (value > least if above else value >= least) or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{wanted}, got {text!r}")
        return value

    return value_of


# ---------------------------------------------------------------- options that several commands have


def add_load(parser: Any) -> None:
    parser.add_argument("--load", nargs="+", metavar="FILE.py", help="your own rewards: Python files to run first")


def load(files: Sequence[str] | None) -> None:
    """Run these Python files, so that the parts in them are known by name.

    Raises:
        SettingError: there is no such file, or it fails.
    """
    import importlib.util
    import sys
    from pathlib import Path

    from workbench.errors import SettingError

    for file in files or ():
        spec = importlib.util.spec_from_file_location(Path(file).stem, file)
        if not Path(file).is_file() or spec is None or spec.loader is None:
            raise SettingError(f"--load takes a Python file (.py) that is there, got {file!r}")
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise SettingError(f"{file} cannot be run: {type(error).__name__}: {error}") from error


def add_lab(parser: Any) -> None:
    parser.add_argument("--lab", default="lab", metavar="FOLDER", help="where everything is kept (default: lab)")


def add_material(parser: Parser, *, limit: int | None) -> None:
    """Policy, tasks, corpus and limits: what `material.gather` reads, with `temperature`."""
    parser.usage = "%(prog)s [options]"
    who = parser.add_argument_group("who plays")
    who.add_argument(
        "--policy",
        default="demo",
        metavar="NAME",
        help="demo (the tiny policy), a folder with a model, or a name on a model hub (default: demo)",
    )
    who.add_argument(
        "--engine",
        choices=("transformers", "vllm"),
        default="transformers",
        help="what samples; vllm runs in a process, and may live in a Python of its own: WORKBENCH_VLLM_PYTHON "
        "(default: transformers)",
    )
    who.add_argument(
        "--bf16",
        action="store_true",
        help="matrix products in bfloat16, where the machine is faster at them; weights, head and logprobs stay as "
        "they are",
    )
    who.add_argument(
        "--template",
        metavar="NAME",
        help="how it writes: search-r1 or tools; demo: tags or tools (default: as the policy was made, else search-r1)",
    )
    who.add_argument(
        "--chat", action="store_true", help="search-r1 in the model's chat template (tools is always in it)"
    )
    who.add_argument(
        "--instruction",
        metavar="FILE",
        help="a text file with a prompt of your own; it holds {question} (search-r1) or {tools} (tools)",
    )
    who.add_argument("--turn-tokens", type=whole(1), metavar="N", help="most tokens of one turn (default: 500)")
    what = parser.add_argument_group("on what")
    what.add_argument(
        "--tasks",
        default="demo",
        metavar="FILE",
        help="a question set, or demo, or demo-test, its held-out tasks (default: demo)",
    )
    what.add_argument(
        "--limit",
        type=whole(1),
        default=limit,
        metavar="N",
        help=f"only the first N tasks (default: {limit or 'all'})",
    )
    what.add_argument(
        "--corpus",
        nargs="+",
        metavar="FILE",
        help="pages to search: files, a folder that `corpus index` wrote, a folder of .txt and .md, an http:// address "
        "that speaks Search-R1's protocol, or demo (default: demo, for its tasks)",
    )
    limits = parser.add_argument_group("within which limits (defaults: Search-R1's; a policy made here brings its own)")
    limits.add_argument("--k", type=whole(1), metavar="N", help="pages a search brings (default: 3)")
    limits.add_argument(
        "--turns", type=whole(0), metavar="N", help="turns that may search; one more follows to answer (default: 4)"
    )
    limits.add_argument(
        "--observation-tokens", type=whole(1), metavar="N", help="most tokens of what a turn is shown (default: 500)"
    )


def add_batch(parser: Any) -> None:
    parser.add_argument(
        "--batch", type=whole(1), metavar="N", help="rollouts in flight: fewer need less memory (default: 128)"
    )


def typed_again(args: argparse.Namespace, names: Sequence[str]) -> list[str]:
    """The options among `names` that were given, as words of a command line."""
    words: list[str] = []
    for name in names:
        value = getattr(args, name)
        flag = f"--{name.replace('_', '-')}"
        if value is True:
            words.append(flag)
        elif isinstance(value, list):
            words += [flag, *value]
        elif value not in (None, False):
            words += [flag, str(value)]
    return words
