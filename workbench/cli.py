"""The command line: `workbench COMMAND`. This module builds the parser and answers errors; `workbench.commands` does
the work. ``--help`` imports nothing heavy."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Sequence

from workbench import __version__
from workbench.commands import (
    bench_command,
    copy_command,
    corpus_command,
    dataset_command,
    demo_command,
    export_command,
    import_command,
    mend_command,
    migrate_command,
    models_command,
    papers_command,
    rollout_command,
    score_command,
    serve_command,
    sql_command,
    steer_command,
    team_command,
    train_command,
    users_command,
    world_command,
)
from workbench.commands.options import Parser
from workbench.errors import WorkbenchError

LESSON = """
A workbench for people who design rewards for LLM search agents: roll an agent out, score what it did, train it, and ask
SQL about everything that was ever logged. What is logged lies in a lab, a folder (default: lab) that is made on first
use and may be used by several processes at once.
"""

EXAMPLES = """
examples:
  # the whole job on the embedded world: roll out, score, train, log, ask (some minutes)
  workbench demo

  # one piece at a time
  workbench rollout --limit 20 --name first
  workbench score first "ExactMatch() + 0.5 * CoverageGain()"
  workbench sql "select part, avg(value) from scores where run = 'first' group by part"

'workbench COMMAND --help' explains each command, with examples.
"""

FAMILIES = (
    demo_command,
    rollout_command,
    score_command,
    train_command,
    steer_command,
    import_command,
    export_command,
    dataset_command,
    copy_command,
    sql_command,
    serve_command,
    users_command,
    team_command,
    mend_command,
    migrate_command,
    world_command,
    papers_command,
    models_command,
    corpus_command,
    bench_command,
)


def make_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(prog="workbench", description=LESSON.strip(), epilog=EXAMPLES.strip())
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of errors")
    parser.set_defaults(run=lambda args: parser.print_help(), kept="nothing was changed")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for family in FAMILIES:
        family.add(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks.

    Args:
        argv: without the program's name; default what was typed.

    Returns:
        0; 2 where it cannot be done, after one line on stderr that says why; 130 after Ctrl-C. Wrong options leave by
        SystemExit(2), as argparse does it.
    """
    typed = list(sys.argv[1:] if argv is None else argv)
    args = make_parser().parse_args(typed)
    args.typed = shlex.join(["workbench", *typed])
    try:
        code = args.run(args) or 0
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader of our output has seen enough: `workbench sql ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (WorkbenchError, OSError) as error:
        if args.debug:
            traceback.print_exc()
        print(f"workbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\nworkbench: interrupted; {args.kept.format(**vars(args))}", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
