"""Papers: the gallery of published methods, with their proofs, and their rewards tried on one's own rollouts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

import pandas as pd
import traitlets

from widgets.component import Component
from workbench.batch import flat_batch
from workbench.errors import SettingError, WorkbenchError
from workbench.evaluation import term_report
from workbench.papers import CATALOGUE, Entry, built, claim, entry, load
from workbench.papers.results import kept, plain
from workbench.rescoring import rescore
from workbench.rewards.score import score
from workbench.store import Store
from workbench.trajectory import Tree

MOST_TREES = 50
"""Trees that a try reads, of the run's last update."""

FILLED = "select run from trees join runs using (run) group by run order by max(started) desc"
"""Runs that hold rollouts, the newest first."""


class Papers(Component):
    """The catalogue beside one method: claim, formula, kept proofs, a proof run now, its rewards on a run of a lab.

    Args:
        store: whose runs the rewards can be tried on; without one the gallery is to read.
        chosen: the method shown first, by name or the number of its card.
    """

    chosen = traitlets.Unicode(help="both ways: name of the method that is shown").tag(sync=True)
    label = traitlets.Unicode("Papers").tag(sync=True)

    def __init__(self, store: Store | None = None, chosen: str = "", **traits: Any) -> None:
        self._store = store
        self._busy = threading.Lock()
        self._closed = False
        first = entry(chosen) if chosen else next(iter(built()), CATALOGUE[0])
        super().__init__(chosen=first.name, still=f"{len(built())} of {len(CATALOGUE)} methods are built", **traits)

    # ------------------------------------------------------------ what the page asks

    def hear_hello(self) -> None:
        """A page was drawn: the catalogue, those that are built first, the runs, and the method it shows."""
        here = built()
        runs = [] if self._store is None else list(self._store.sql(FILLED)["run"])
        rows = [_row(one, one in here) for one in CATALOGUE]
        self.say("catalogue", sorted(rows, key=lambda row: not row["built"]), runs=runs)
        self.hear_choose(self.chosen)

    def hear_choose(self, name: str) -> None:
        """Show this method."""
        one = entry(name)
        self.chosen = one.name
        self.say("paper", told(one))

    def hear_prove(self, name: str, seed: int) -> None:
        """Run its proof in a thread."""
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise SettingError(f"a seed is a whole number of at least 0, got {seed!r}")
        proof = load(name).proof
        self._begin(lambda: self.say("proof", plain(proof(seed)), name=name, seed=seed))

    def hear_try(self, name: str, reward: str, run: str) -> None:
        """Score trees of the last update of a run, and record nothing."""
        paid, store = self._reward(name, reward), self._lab()

        def work() -> None:
            trees = newest(store, run)
            self.say("tried", tried(trees, paid), name=name, reward=reward, run=run, trees=len(trees))

        self._begin(work)

    def hear_record(self, name: str, reward: str, run: str) -> None:
        """Score all of a run, and record that as a version of its scores."""
        paid, store = self._reward(name, reward), self._lab()

        def work() -> None:
            done = rescore(store, paid, run, progress=False)
            self.say("recorded", name=name, run=run, trees=done.trees, kept=done.kept, version=done.version)

        self._begin(work)

    def close(self) -> None:
        """Let go of the page; what is under way ends unheard."""
        self._closed = True
        super().close()

    # ------------------------------------------------------------ the work

    def _reward(self, name: str, reward: str) -> Any:
        rewards = load(name).rewards
        if reward not in rewards:
            raise SettingError(f"{name} has no reward {reward!r}; it has {', '.join(rewards)}")
        return rewards[reward]

    def _lab(self) -> Store:
        if self._store is None:
            raise SettingError("this gallery has no lab to try a reward on; make it with Papers(store)")
        return self._store

    def _begin(self, work: Callable[[], None]) -> None:
        """One piece of work at a time, in a thread; what goes wrong is told."""
        if not self._busy.acquire(blocking=False):
            raise SettingError("something of yours is under way here; wait for it")

        def run() -> None:
            try:
                work()
            except WorkbenchError as error:
                self._tell(str(error))
            except Exception as error:  # the person at the page must hear of it
                self._tell(f"{type(error).__name__}: {error}")
                raise
            finally:
                self._busy.release()

        threading.Thread(target=run, daemon=True).start()

    def _tell(self, says: str) -> None:
        if not self._closed:
            self.say("trouble", says=says)

    # ------------------------------------------------------------ without a page

    def __repr__(self) -> str:
        return f"Papers({self.chosen!r}, {len(built())} of {len(CATALOGUE)} built)"

    def picture(self) -> str:
        """The catalogue as a table."""
        here = built()
        rows = "".join(
            f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in _line(one, one in here))}</tr>"
            for one in CATALOGUE
        )
        names = "".join(f"<th>{name}</th>" for name in ("card", "method", "brings", "known from", "proof", "published"))
        return f"<table><thead><tr>{names}</tr></thead><tbody>{rows}</tbody></table>"


def _row(one: Entry, here: bool) -> dict[str, Any]:
    return {
        "number": one.number,
        "name": one.name,
        "title": one.title,
        "kind": one.kind,
        "built": here,
        "verdict": kept(one.name).verdict if here else None,
    }


def _line(one: Entry, here: bool) -> tuple[str, ...]:
    verdict = (kept(one.name).verdict or "not kept") if here else "not built"
    return one.number, one.title, one.kind, one.fidelity, verdict, one.published


def told(one: Entry) -> dict[str, Any]:
    """All that is shown of a method."""
    about = _row(one, one in built()) | {"source": one.source, "fidelity": one.fidelity, "published": one.published}
    if not about["built"]:
        return about
    paper, results = load(one.name), kept(one.name)
    return about | {
        "claim": claim(one.name),
        "formula": paper.formula.strip("\n"),
        "differs": list(paper.differs),
        "rewards": [[name, repr(reward)] for name, reward in paper.rewards.items()],
        "proofs": _proofs(results.proofs),
        "on_world": _proofs(results.on_world),
    }


def _proofs(by_seed: Any) -> list[dict[str, Any]]:
    return [{"seed": seed} | plain(proof) for seed, proof in sorted(by_seed.items())]


def newest(store: Store, run: str) -> list[Tree]:
    """Trees of the run's last update, a page of them."""
    last = store.sql("select max(update) as last from trajectories where run = $run", run=run)["last"][0]
    return list(store.trees(run, None if pd.isna(last) else int(last), limit=MOST_TREES))


def tried(trees: Sequence[Tree], reward: Any) -> dict[str, Any]:
    """What a reward pays these trees: the report of its terms."""
    if not trees:
        raise SettingError("this run holds no rollouts to try the reward on")
    report = term_report(flat_batch(trees, score(trees, reward)))
    rows = [[name, *row] for name, row in zip(report.index, report.to_numpy().tolist(), strict=True)]
    return {"columns": ["term", *report.columns], "rows": rows}
