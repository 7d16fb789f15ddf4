"""Realistic logs of search agents in training, of any size: `python -m tests.bench.big_lab FOLDER --trajectories 1000`.

Four runs of updates of twelve groups of eight trajectories, five to fifteen steps each: a turn with a thought and a
query, three pages, token ids and logprobs; at the end an answer. Tasks, gold pages and titles are the embedded
world's. Texts are drawn word by word from its vocabulary by Zipf's law and the pages come from a fixed set, so that
they compress about as much as real logs do. Two versions of a reward of eight parts scored everything. All of it goes
through `record_trees` and `record_scores`. An update depends on its run and number alone: every run of this program
makes the same.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import workbench
from workbench.scores import Part, Scores, Status
from workbench.store import Store, open_store
from workbench.store.rows import Rows, arrow, now, time_id
from workbench.store.scoring import reward_version
from workbench.trajectory import Call, Context, End, Hit, Origin, Span, Step, Task, Tokens, Trajectory, Tree

GROUP, GROUPS = 8, 12  # trajectories of a group, groups of an update
SINGLE = {"ExactMatch": 1.0, "TokenF1": 0.5, "WellFormed": 0.2, "Judge": 0.5}  # one number a trajectory; weights
STEPWISE = {"CoverageGain": 0.5, "RepeatedDocuments": -0.2, "SearchKeyMatch": 0.3, "Process": 0.1}  # a number a step
PARTS = SINGLE | STEPWISE
SETTINGS = ('{"part": "Reward", "mode": "strict"}', '{"part": "Reward", "mode": "lenient"}')
CODE = "1"
VERSIONS = tuple(reward_version(settings, CODE) for settings in SETTINGS)
PAGES, VOCABULARY = 20_000, 32_000
ENDS = (End.ANSWERED, End.TRUNCATED, End.FAILED)
LABEL, LABELLED, WHO = "helpful", 0.005, ("ann", "bob")  # five steps in a thousand have a label


@dataclass(frozen=True)
class Size:
    """How much, and how full."""

    trajectories: int = 100_000
    runs: int = 4
    ids: bool = True  # token ids and logprobs
    page_words: int = 45  # of each of the three pages that a search brings
    thought_words: int = 40

    def updates(self, run: int) -> int:
        """Updates of the run."""
        return len(range(run, max(1, self.trajectories // (GROUP * GROUPS)), self.runs))


@dataclass(frozen=True)
class Update:
    """All that one update of a run left behind."""

    run: str
    number: int
    trees: tuple[Tree, ...]
    scores: tuple[list[list[Scores]], list[list[Scores]]]  # of the two versions
    labels: tuple[tuple[str, str, int, float, str], ...]  # tree, trajectory, step, value, who


def updates(size: Size) -> Iterator[Update]:
    """The whole log, run after run."""
    for run in range(size.runs):
        count = size.updates(run)
        for number in range(count):
            yield _Maker(size, run, number, count).update()


def said(rng: np.random.Generator, words: int) -> str:
    """So many words, the frequent ones often."""
    vocabulary, edges = _vocabulary()
    return " ".join([vocabulary[n] for n in np.searchsorted(edges, rng.random(words)).tolist()])


@cache
def _vocabulary() -> tuple[list[str], np.ndarray]:
    """The words of the world's pages, frequent ones first, and where each begins between 0 and 1."""
    counts: dict[str, int] = {}
    for page in workbench.demo().pages:
        for word in page.text.split():
            counts[word] = counts.get(word, 0) + 1
    weight_V = 1 / (np.arange(len(counts)) + 2.7)
    return sorted(counts, key=lambda word: (-counts[word], word)), np.cumsum(weight_V)[:-1] / weight_V.sum()


@dataclass(frozen=True)
class _Page:
    id: str
    title: str
    text: str
    ids_T: np.ndarray


@cache
def _pages(words: int) -> dict[str, _Page]:
    """The world's pages, then others about the same titles, each told at length."""
    rng, made = np.random.default_rng(1), dict[str, _Page]()
    known = workbench.demo().pages
    for n in range(PAGES):
        page = known[n % len(known)]
        id = page.id if n < len(known) else f"{page.id}-{n // len(known)}"
        text = f"{page.text} {said(rng, words - len(page.text.split()))}" if words > 20 else page.text
        made[id] = _Page(id, page.title, text, _drawn_ids(rng, int(1.3 * len(text.split()))))
    return made


def _drawn_ids(rng: np.random.Generator, count: int) -> np.ndarray:
    return (VOCABULARY * rng.random(count) ** 4).astype(np.int32)


class _Maker:
    """One update."""

    def __init__(self, size: Size, run: int, number: int, count: int) -> None:
        self.size, self.run, self.number = size, run, number
        self.rng = np.random.default_rng((7, run, number))
        self.skill = 0.2 + 0.5 * number / count + 0.05 * run  # of finding gold pages and of answering right
        self.pages = _pages(size.page_words)
        self.names = list(self.pages)

    def update(self) -> Update:
        tasks = _tasks()
        chosen = self.rng.choice(len(tasks), GROUPS, replace=False)
        trees = tuple(self._tree(g, tasks[n]) for g, n in enumerate(chosen.tolist()))
        first = [[self._scores(trajectory) for trajectory in tree] for tree in trees]
        again = [[self._rescored(scores) for scores in group] for group in first]
        return Update(f"r{self.run + 1}", self.number, trees, (first, again), tuple(self._labels(trees)))

    # ------------------------------------------------------------ trajectories

    def _tree(self, g: int, task: Task) -> Tree:
        name = f"{self.number}.{g}"
        prompt = Context(f"Answer the question. You may search. Question: {task.question}\n")
        if self.size.ids:
            prompt = replace(prompt, tokens=Tokens.foreign(_drawn_ids(self.rng, 60)))
        near = [self.names[n] for n in self.rng.integers(0, len(self.names), 10).tolist()]
        members = [self._trajectory(f"{name}.{m}", task, prompt, near) for m in range(GROUP)]
        return Tree(name, task, tuple(members))

    def _trajectory(self, id: str, task: Task, prompt: Context, near: Sequence[str]) -> Trajectory:
        rng, asked = self.rng, list[str]()
        count = int(rng.integers(5, 16))
        steps = []
        for s in range(count - 1):
            query = asked[int(rng.integers(len(asked)))] if asked and rng.random() < 0.1 else self._query(task)
            asked.append(query)
            steps.append(self._search(f"{id}.{s}", query, task, near, prompt if s == 0 else None))
        end = ENDS[np.searchsorted((0.9, 0.99), rng.random())]
        right = rng.random() < self.skill
        answer = task.golds[0] if right and task.golds else said(rng, 2)
        steps.append(self._answer(f"{id}.{count - 1}", answer, end is End.ANSWERED))
        return Trajectory(id, task, tuple(steps), end, "" if end is End.ANSWERED else "turns")

    def _query(self, task: Task) -> str:
        known = [query for sub in task.sub_questions for query in sub.queries]
        if known and self.rng.random() < 0.5:
            return known[int(self.rng.integers(len(known)))]
        return said(self.rng, int(self.rng.integers(2, 7)))

    def _search(self, id: str, query: str, task: Task, near: Sequence[str], prompt: Context | None) -> Step:
        rng = self.rng
        found = [near[n] for n in rng.integers(0, len(near), 3).tolist()]
        gold = sorted(page for page in task.gold_pages if page in self.pages)
        if gold and rng.random() < 0.5 * self.skill:
            found[int(rng.integers(3))] = gold[int(rng.integers(len(gold)))]
        pages = [self.pages[name] for name in dict.fromkeys(found)]
        drawn = np.sort(rng.random(len(pages)))[::-1].tolist()
        hits = tuple(
            Hit(page.id, page.title, page.text, score, rank, query)
            for rank, (page, score) in enumerate(zip(pages, drawn, strict=True))
        )
        shown = "".join(f"Doc {hit.rank + 1}(Title: {hit.title}) {hit.text}\n" for hit in hits)
        thought = said(rng, self.size.thought_words)
        call = Call("search", {"query": query}, hits, seconds=round(float(rng.random()) / 10, 4))
        return Step(
            id,
            f"<think>{thought}</think><search>{query}</search>",
            (call,),
            (Span("think", thought), Span("query", query)),
            f"\n\n<information>{shown}</information>\n\n",
            self._tokens([page.ids_T for page in pages]),
            prompt,
            policy=f"tiny@{self.number}",
            seconds=round(float(rng.random()), 4),
        )

    def _answer(self, id: str, answer: str, given: bool) -> Step:
        thought = said(self.rng, self.size.thought_words)
        spans = (Span("think", thought), Span("answer", answer)) if given else (Span("think", thought),)
        text = f"<think>{thought}</think>" + (f"<answer>{answer}</answer>" if given else "")
        return Step(id, text, (), spans, "", self._tokens([]), policy=f"tiny@{self.number}", seconds=0.1)

    def _tokens(self, shown: Sequence[np.ndarray]) -> Tokens | None:
        """The turn as drawn, then what it was shown."""
        if not self.size.ids:
            return None
        own = int(1.4 * self.size.thought_words)
        ids_T = np.concatenate([_drawn_ids(self.rng, own), *shown])
        logprobs_T = np.full(len(ids_T), np.nan)
        logprobs_T[:own] = -self.rng.exponential(0.4, own)
        return Tokens(ids_T, logprobs_T, np.where(np.isnan(logprobs_T), Origin.ENVIRONMENT, Origin.SAMPLED))

    # ------------------------------------------------------------ scores and labels

    def _scores(self, trajectory: Trajectory) -> Scores:
        steps, rng = trajectory.steps, self.rng
        searched_S = np.array([bool(step.calls) for step in steps])
        right = bool(trajectory.task.golds) and trajectory.answer == trajectory.task.golds[0]
        gain_S, gain_why, again_S, again_why = _found(trajectory)
        key_S = np.where(searched_S & (rng.random(len(steps)) < 0.5), rng.integers(0, 101, len(steps)) / 100, np.nan)
        judged_S = np.where(rng.random(len(steps)) < 0.5, rng.integers(0, 11, len(steps)) / 10, np.nan)
        told = f"answer {trajectory.answer!r} is {'a' if right else 'no'} gold"
        judge = Scores.missing("the judge timed out")
        if rng.random() > 0.002:
            judge = Scores.trajectory(float(rng.integers(0, 11)) / 10, said(rng, 12))
        given = {
            "ExactMatch": Scores.trajectory(float(right), told),
            "TokenF1": Scores.trajectory(1.0 if right else float(rng.integers(0, 90)) / 100, told),
            "WellFormed": Scores.trajectory(float(trajectory.end is End.ANSWERED)),
            "Judge": judge,
            "CoverageGain": Scores.steps(gain_S, gain_why),
            "RepeatedDocuments": Scores.steps(again_S, again_why),
            "SearchKeyMatch": Scores.steps(key_S, ["best of the sub-question's queries"] * len(steps)),
            "Process": Scores.steps(judged_S),
        }
        return _summed(given, len(steps))

    def _rescored(self, scores: Scores) -> Scores:
        """What the lenient version says: some gains and some judgements are another number."""
        given = {part.name: part.scores for part in scores.parts}
        gain, judge = given["CoverageGain"], given["Judge"]
        moved_S = self.rng.random(len(gain)) < 0.1
        values_S = np.where(moved_S, gain.values_S + 0.25, gain.values_S)
        given["CoverageGain"] = replace(gain, values_S=values_S)
        if self.rng.random() < 0.15 and judge.status_S[0] == Status.SCORED:
            given["Judge"] = Scores.trajectory(min(1.0, judge.value + 0.1), judge.why_S[0])
        return _summed(given, len(gain))

    def _labels(self, trees: Sequence[Tree]) -> Iterator[tuple[str, str, int, float, str]]:
        for tree in trees:
            for trajectory in tree:
                for s in np.flatnonzero(self.rng.random(len(trajectory.steps)) < LABELLED).tolist():
                    who = WHO[int(self.rng.integers(2))]
                    yield tree.id, trajectory.id, s, float(self.rng.integers(2)), who


@cache
def _tasks() -> tuple[Task, ...]:
    return workbench.demo().tasks


def _found(trajectory: Trajectory) -> tuple[list[float], list[str], list[float], list[str]]:
    """For each search step the gold pages that are new and the pages seen before, each with its reason."""
    seen: set[str] = set()
    gains, gain_whys, repeats, repeat_whys = [], [], [], []
    for step in trajectory.steps:
        pages = {hit.id for hit in step.hits}
        new, old = sorted((pages & trajectory.task.gold_pages) - seen), len(pages & seen)
        gains.append(len(new) / max(1, len(trajectory.task.gold_pages)) if step.calls else np.nan)
        gain_whys.append(f"new gold pages: {', '.join(new) or 'none'}" if step.calls else "")
        repeats.append(old / len(pages) if pages else np.nan)
        repeat_whys.append(f"{old} of {len(pages)} pages were seen before" if pages else "")
        seen |= pages
    return gains, gain_whys, repeats, repeat_whys


def _summed(given: dict[str, Scores], steps: int) -> Scores:
    """A sum as WeightedSum makes it: numbers of a trajectory land on the last step."""
    parts = tuple(Part(name, weight, given[name], "end") for name, weight in PARTS.items())
    values_S = np.zeros(steps)
    for part in parts:
        values = part.weight * np.where(np.isnan(part.scores.values_S), 0.0, part.scores.values_S)
        values_S[-len(values) :] += values
    if given["Judge"].status_S[0] == Status.MISSING:
        values_S[-1] = np.nan
    return Scores(values_S, np.where(np.isnan(values_S), Status.MISSING, Status.SCORED), parts=parts)


# ---------------------------------------------------------------- into a lab


def record(store: Store, update: Update) -> None:
    """One update with both scorings, as a training and a later rescoring leave them."""
    store.record_trees(update.trees, run=update.run, update=update.number)
    for settings, scores in zip(SETTINGS, update.scores, strict=True):
        told = {"run": update.run, "update": update.number, "reward": settings, "version": CODE}
        store.record_scores(update.trees, scores, **told)
    for tree, trajectory, step, value, who in update.labels:
        store.label(update.run, tree, trajectory, LABEL, value, step=step, who=who)
    store.flush()


def made_lab(folder: Path, size: Size, *, progress: bool = False) -> Store:
    """A lab of this size in a new folder."""
    store = open_store(folder)
    for run in range(size.runs):
        store.start_run({"kind": "train"}, name=f"r{run + 1}")
    for update in shown(updates(size), size) if progress else updates(size):
        record(store, update)
    return store


def edit_some(store: Store, count: int) -> int:
    """Edit so many scores in force, spread over the lab: half of them one number a trajectory. Returns how many.

    They are written in one go: `Store.edit` looks each score up first, which for thousands takes a while.
    """
    found = store.sql(
        """
        select run, tree, trajectory, step, part, node, reward, value from scores
        where part in ('ExactMatch', 'CoverageGain')
        qualify row_number() over (partition by part order by hash(run, tree, trajectory, step)) <= $half
        order by run, tree, trajectory, part, step
        """,
        half=-(-count // 2),
    )
    columns = [found[name].astype(object).where(found[name].notna(), None) for name in found.columns]
    for run, rows in found.assign(row=list(zip(*columns, strict=True))).groupby("run"):
        made = [_edit(*row) for row in rows["row"]]
        store._writer.put(Rows(str(run), {"edits": arrow("edits", made)}))
    store.flush()
    return len(found)


def _edit(run: str, tree: str, trajectory: str, step: Any, part: str, node: int, reward: str, old: float) -> tuple:
    place = (run, tree, trajectory, None if step is None else int(step))
    return (time_id(), "ann", *place, part, int(node), reward, old, 1.0 - old, "as asked", now())


def shown(stream: Iterator[Update], size: Size) -> Iterator[Update]:
    """`stream`, with how far it is on stderr."""
    total, started = sum(size.updates(run) for run in range(size.runs)), time.perf_counter()
    for done, update in enumerate(stream, 1):
        yield update
        if done % 20 == 0 or done == total:
            spent = time.perf_counter() - started
            left = spent / done * (total - done)
            print(
                f"\r{done} of {total} updates, {spent:.0f} s, {left:.0f} s left ", end="", file=sys.stderr, flush=True
            )
    print(file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--trajectories", type=int, default=Size.trajectories)
    parser.add_argument("--runs", type=int, default=Size.runs)
    parser.add_argument("--edits", type=int, default=0)
    args = parser.parse_args()
    with made_lab(args.folder, Size(args.trajectories, args.runs), progress=True) as store:
        edit_some(store, args.edits)
        store.tidy()


if __name__ == "__main__":
    main()
