"""`workbench team` and `workbench fill`."""

from __future__ import annotations

import argparse
from typing import Any

from workbench.commands.options import add_command

LESSON = """
make a lab that a team shares, or join it: its catalog in PostgreSQL, its rows in S3 or a shared folder

LAB becomes a folder of this machine that names both and holds what was recorded here until it is in the tables. The
same command on the next machine joins the lab. From then on every command and open_store(LAB) works as with any lab.

The database and the bucket have to be there (createdb lab; an empty prefix of a bucket). Passwords and keys come from
the environment, now and whenever the lab is opened: PGPASSWORD or ~/.pgpass; AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
and, where needed, AWS_SESSION_TOKEN. No file of the lab holds them. How to back a team's lab up and restore it, and how
to take a lab of one machine into it, tells TEAM.md beside the module workbench.store.

examples:
  # PostgreSQL on the machine "db", rows in a bucket of Amazon's
  workbench team lab --catalog "host=db dbname=lab user=ann" --data s3://our-lab/rollouts/ --region eu-west-1

  # rows in a bucket of another S3, such as MinIO
  workbench team lab --catalog "host=db dbname=lab" --data s3://lab/rollouts/ --endpoint http://minio:9000

  # rows in a folder that every machine sees under this path
  workbench team lab --catalog "host=db dbname=lab" --data /nfs/lab
"""


FILL = """
take everything of one lab into another that is empty: the lab of one machine into a team's, or back

Every run, tree, score, edit and label comes with the time it was recorded at, in one commit. The older lab stays as it
is. Older snapshots, checkpoints and plots are not taken.

examples:
  # into the lab that `workbench team shared ...` has made
  workbench fill shared --from lab

  # a team's lab onto one machine
  workbench fill mine --from shared
"""


def add(commands: Any) -> None:
    parser = add_command(commands, "fill", fill, FILL, kept="{lab} holds all of {source}, or nothing of it")
    parser.add_argument("lab", metavar="LAB", help="the lab to fill; it holds no run")
    parser.add_argument("--from", dest="source", required=True, metavar="OTHER", help="the lab to take everything of")
    parser = add_command(commands, "team", run, LESSON, kept="the command can be run again")
    parser.add_argument("lab", metavar="LAB", help="folder on this machine, to make")
    parser.add_argument(
        "--catalog", required=True, metavar="ADDRESS", help='the database: "host=... dbname=... user=...", no password'
    )
    parser.add_argument(
        "--data", required=True, metavar="PLACE", help="where rows lie: s3://BUCKET/PREFIX/ or a folder"
    )
    parser.add_argument("--schema", default="workbench", help="the lab's schema in the database (default: workbench)")
    parser.add_argument("--endpoint", default="", metavar="URL", help="of an S3 that is not Amazon's")
    parser.add_argument("--region", default="", help="of the bucket (default: AWS_REGION of the environment)")
    parser.add_argument(
        "--url-style", default="", choices=("path", "vhost"), help="(default: path with --endpoint, else vhost)"
    )


def run(args: argparse.Namespace) -> None:
    import shlex

    from workbench.store import join_team

    joined = join_team(
        args.lab,
        args.catalog,
        args.data,
        schema=args.schema,
        endpoint=args.endpoint,
        region=args.region,
        url_style=args.url_style,
    )
    lab, place = shlex.quote(args.lab), joined.place
    print(
        f"{'made' if joined.made else 'joined'} the lab in {place.where}, schema {place.schema}; rows in {place.data}"
    )
    print("now, with the same passwords and keys in the environment:")
    print(f'  workbench sql --lab {lab} "from runs"      what is in it')
    print(f"  workbench serve {lab}                      the app")
    if joined.made:
        print("on the next machine: the same command. Backups: see `workbench team --help`")


def fill(args: argparse.Namespace) -> None:
    from workbench.commands.tables import text_table
    from workbench.store.filling import fill

    taken = fill(args.lab, args.source)
    print(text_table(["table", "rows"], [[table, rows] for table, rows in taken.items() if rows]))
    print(f"\n{args.lab} holds everything of {args.source}")
