"""The embedded world: short pages of facts, and tasks of one to three hops over them.

A page tells of one entity. A task follows a chain of relations from page to page; each hop's answer stands on its
own page and on none before it. Train and test tasks never ask about the same entity.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from workbench.environments.questions import page_text, question
from workbench.errors import FormatError, UnknownName
from workbench.text import normalize_answer
from workbench.trajectory import SubQuestion, Task

LEADS_TO: Mapping[tuple[str, str], str] = {
    ("country", "capital"): "city",
    ("country", "currency"): "currency",
    ("city", "country"): "country",
    ("city", "state"): "state",
    ("airport", "city"): "city",
    ("element", "country"): "country",
    ("county", "state"): "state",
    ("currency", "country"): "country",
}
"""(kind, relation) -> kind of the entity that the relation's value names."""

LANGUAGE_ALIASES = {"Bangla": ("Bengali",), "Divehi": ("Dhivehi",), "Persian": ("Farsi",), "Chinese": ("Mandarin",)}
HOP_SHARES = {1: 0.25, 2: 0.45, 3: 0.30}
TRAIN_TASKS, TEST_TASKS = 2600, 640
TEST_SHARE = 0.2  # of the entities asked about
ANSWER_SHARE = 0.03  # of a split's tasks: no answer is the right one more often
FILES = {"pages": "corpus.jsonl.gz", "tasks": "tasks.jsonl.gz", "test_tasks": "test_tasks.jsonl.gz"}


@dataclass(frozen=True)
class Page:
    """A short page about one entity. `text` states all of `facts` (relation -> value), each once."""

    id: str
    title: str
    text: str
    kind: str
    facts: Mapping[str, str]
    aliases: tuple[str, ...] = ()  # other accepted names of the entity


@dataclass(frozen=True)
class World:
    """Pages, and tasks whose gold pages are among them."""

    pages: tuple[Page, ...]
    tasks: tuple[Task, ...]
    test_tasks: tuple[Task, ...]

    def __repr__(self) -> str:
        return f"World({len(self.pages)} pages, {len(self.tasks)} tasks, {len(self.test_tasks)} test tasks)"


# ---------------------------------------------------------------- building


def build_world(seed: int = 0) -> World:
    """The world of real facts; takes some 20 seconds and the packages of the extra ``[world]``."""
    from workbench.environments.facts import gather

    pages = tuple(
        make_page(f"{entity.kind}-{_slug(entity.name)}", entity.kind, entity.name, entity.facts, entity.aliases)
        for entity in gather()
    )
    by_title = {page.title: page for page in pages}
    chains = [chain for page in pages for chain in _chains(page, by_title)]
    rng = Random(seed)
    train = _choose([chain for chain in chains if not _in_test(chain)], TRAIN_TASKS, rng)
    test = _choose([chain for chain in chains if _in_test(chain)], TEST_TASKS, rng)
    return World(pages, *(tuple(make_task(chain, by_title) for chain in chosen) for chosen in (train, test)))


def make_page(id: str, kind: str, name: str, facts: Mapping[str, str], aliases: Sequence[str] = ()) -> Page:
    """The page that tells `facts` of the entity `name`."""
    return Page(id, name, page_text(kind, name, facts), kind, dict(facts), tuple(aliases))


@dataclass(frozen=True)
class Chain:
    """The pages to visit and the relation to read on each; the last value read is the answer."""

    pages: tuple[Page, ...]
    path: tuple[str, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(page.kind for page in self.pages)

    @property
    def answer(self) -> str:
        return self.pages[-1].facts[self.path[-1]]

    @property
    def id(self) -> str:
        return f"{self.pages[0].id}:{'/'.join(self.path)}".replace(" ", "-")


def _chains(start: Page, by_title: Mapping[str, Page], longest: int = 3) -> Iterator[Chain]:
    """Every chain from `start` whose answers each stand on their own page and on none before it."""
    open_chains = [Chain((start,), ())]
    for _ in range(longest):
        longer = []
        for chain in open_chains:
            here = chain.pages[-1]
            for relation, value in here.facts.items():
                step = Chain(chain.pages, (*chain.path, relation))
                if _told(value, (start.title, *(page.text for page in chain.pages[:-1]))):
                    continue
                yield step
                there = by_title.get(value)
                if there and LEADS_TO.get((here.kind, relation)) == there.kind:
                    longer.append(Chain((*chain.pages, there), step.path))
        open_chains = longer


def _told(answer: str, texts: Iterable[str]) -> bool:
    """Whether the answer stands, as whole words, in any of the texts."""
    wanted = f" {normalize_answer(answer)} "
    return any(wanted in f" {normalize_answer(text)} " for text in texts)


def _in_test(chain: Chain) -> bool:
    return zlib.crc32(f"{chain.pages[0].kind}:{chain.pages[0].title}".encode()) % 1000 < 1000 * TEST_SHARE


def _choose(chains: Sequence[Chain], count: int, rng: Random) -> list[Chain]:
    """`count` chains in the shares of HOP_SHARES, kinds of path as evenly as they last, no answer too often."""
    answers: Counter[str] = Counter()
    chosen: list[Chain] = []
    for hops, share in HOP_SHARES.items():
        by_path: dict[tuple, list[Chain]] = {}
        for chain in rng.sample(chains, len(chains)):
            if len(chain.path) == hops:
                by_path.setdefault((chain.kinds, chain.path), []).append(chain)
        wanted = round(share * count)
        while wanted and by_path:
            for key in [key for key in by_path if not by_path[key]]:
                del by_path[key]
            for chain in [waiting.pop() for waiting in by_path.values()][:wanted]:
                if answers[chain.answer] < ANSWER_SHARE * count:
                    answers[chain.answer] += 1
                    chosen.append(chain)
                    wanted -= 1
    return rng.sample(chosen, len(chosen))


# ---------------------------------------------------------------- tasks


def make_task(chain: Chain, by_title: Mapping[str, Page]) -> Task:
    """The task of a chain; its id also draws the forms of its questions."""
    rng = Random(chain.id)
    hops = zip(chain.pages, chain.path, strict=True)
    subs = tuple(_sub_question(page, relation, by_title, rng) for page, relation in hops)
    return Task(
        id=chain.id,
        question=question(chain.kinds, chain.pages[0].title, chain.path, rng),
        golds=subs[-1].golds,
        gold_pages=frozenset(page.id for page in chain.pages),
        sub_questions=subs,
        rubrics=tuple({"text": f"{sub.question} {sub.golds[0]}.", "page": sub.page, "weight": 1.0} for sub in subs),
        kind=f"{len(subs)}-hop",
        extras={"entity": chain.pages[0].title, "kinds": list(chain.kinds), "path": list(chain.path)},
    )


def _sub_question(page: Page, relation: str, by_title: Mapping[str, Page], rng: Random) -> SubQuestion:
    return SubQuestion(
        question=question((page.kind,), page.title, (relation,), rng),
        golds=_golds(page, relation, by_title),
        page=page.id,
        queries=(f"{page.title} {relation}", page.title),
    )


def _golds(page: Page, relation: str, by_title: Mapping[str, Page]) -> tuple[str, ...]:
    """The value, then other ways to write it."""
    value = page.facts[relation]
    there = by_title.get(value)
    if there and LEADS_TO.get((page.kind, relation)) == there.kind:
        return (value, *there.aliases)
    if relation == "population":
        return (value, value.replace(" thousand", "000"))
    if relation == "elevation":
        return (value, value.removesuffix(" feet"))
    return (value, *LANGUAGE_ALIASES.get(value, ()))


def chain_of(task: Task, by_id: Mapping[str, Page]) -> Chain:
    """The chain that `make_task` made `task` of."""
    return Chain(tuple(by_id[sub.page] for sub in task.sub_questions), tuple(task.extras["path"]))


def _slug(name: str) -> str:
    return "-".join(normalize_answer(name.replace("-", " ")).split())


# ---------------------------------------------------------------- files


def task_to_json(task: Task) -> dict[str, Any]:
    """Plain data that `task_from_json` turns back into an equal task; empty fields left out."""
    row = {**asdict(task), "gold_pages": sorted(task.gold_pages)}
    return {key: value for key, value in row.items() if value or key in ("id", "question")}


def task_from_json(row: Mapping[str, Any]) -> Task:
    """The task of a row.

    Raises:
        FormatError: the row has no id or question, or an unknown field.
    """
    try:
        subs = (
            SubQuestion(sub["question"], tuple(sub["golds"]), sub["page"], tuple(sub["queries"]))
            for sub in row.get("sub_questions", ())
        )
        sets = {"golds": tuple(row.get("golds", ())), "gold_pages": frozenset(row.get("gold_pages", ()))}
        return Task(**{**row, **sets, "sub_questions": tuple(subs), "rubrics": tuple(row.get("rubrics", ()))})
    except (KeyError, TypeError) as error:
        raise FormatError(
            f"not a task ({error}); a row holds the fields of Task, at least id, question: {row}"
        ) from error


def write_world(world: World, folder: str | Path, prefix: str = "") -> None:
    """Write corpus.jsonl.gz, tasks.jsonl.gz and test_tasks.jsonl.gz, each after `prefix`; same world, same bytes."""
    rows = {
        "pages": [asdict(page) for page in world.pages],
        "tasks": [task_to_json(task) for task in world.tasks],
        "test_tasks": [task_to_json(task) for task in world.test_tasks],
    }
    Path(folder).mkdir(parents=True, exist_ok=True)
    for part, name in FILES.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[part])
        (Path(folder) / (prefix + name)).write_bytes(gzip.compress(text.encode(), mtime=0))


def read_world(folder: str | Path, prefix: str = "") -> World:
    """The world that `write_world` wrote.

    Raises:
        UnknownName: the folder lacks a file of the world.
    """
    rows = {part: _read_rows(Path(folder), prefix + name) for part, name in FILES.items()}
    return World(
        pages=tuple(Page(**{**row, "aliases": tuple(row["aliases"])}) for row in rows["pages"]),
        tasks=tuple(map(task_from_json, rows["tasks"])),
        test_tasks=tuple(map(task_from_json, rows["test_tasks"])),
    )


def _read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    if not (folder / name).is_file():
        raise UnknownName.among("file", name, [path.name for path in folder.glob("*.jsonl.gz")], where=str(folder))
    lines = gzip.decompress((folder / name).read_bytes()).decode().splitlines()
    return [json.loads(line) for line in lines]
