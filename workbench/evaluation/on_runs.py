"""Rewards on rollouts that somebody labelled: what each pays, and whether it can tell good from bad."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from workbench.errors import SettingError, WorkbenchError
from workbench.evaluation.agreement import Agreement, label_accuracy
from workbench.evaluation.intervals import Interval
from workbench.protocols import Encoder
from workbench.rewards.compose import Composite
from workbench.rewards.expression import read_reward
from workbench.rewards.reward import Reward, Wrapper
from workbench.scores import Scores, Status
from workbench.spec import PARTS
from workbench.trajectory import Trajectory, Tree

if TYPE_CHECKING:
    import pandas as pd

Labels = Mapping[tuple[str, int | None], float]
"""By id of the trajectory and index of the step (None: how it ended): 1 good, -1 bad, 0 neither."""

SETTINGS: dict[str, tuple[str, ...]] = {
    "ExactMatch": ("ExactMatch()", "ExactMatch(match='contains_gold')"),
    "CoverageGain": ("CoverageGain()", "CoverageGain(by='answer')", "CoverageGain(by='answer', mode='union')"),
    "RepeatedDocuments": ("-RepeatedDocuments()",),
    "RepeatedQueries": ("-RepeatedQueries()",),
    "CallCount": ("-CallCount()",),
    "OverLong": ("OverLong(400, 300, of='words')",),
    "SetJaccard": ("SetJaccard()", "-SetJaccard(of='results')"),
    "FormatTable": ("FormatTable()", "FormatTable(form=WellFormed(turn=None, last=None))"),
    "Similarity": (
        "Similarity({encoder}, 'query', 'documents', first=3)",
        "Similarity({encoder}, 'query', 'question')",
        "Similarity({encoder}, 'answer', 'golds')",
    ),
    "Decomposition": ("Decomposition({encoder})",),
    "QueryGain": ("QueryGain(CosineTo({encoder}, texts='golds'))",),
}
"""How the rewards are tried whose defaults do not do, signs so that more is meant to be better."""
FOLDS = 5


def registered_rewards(encoder: Encoder | None = None) -> tuple[dict[str, Reward], dict[str, str]]:
    """Every registered reward with sensible settings, by its formula; and by name why the others are left out.

    Args:
        encoder: for the rewards that compare texts, such as ``HashedNgrams()``; None leaves them out.
    """
    rewards: dict[str, Reward] = {}
    left_out: dict[str, str] = {}
    for name, cls in sorted(PARTS.items()):
        if not issubclass(cls, Reward):
            continue
        due = [one.name for one in dataclasses.fields(cls) if one.init and _is_due(one)]  # type: ignore[arg-type]
        texts = SETTINGS.get(name, () if due else (f"{name}()",))
        if issubclass(cls, Composite | Wrapper):
            left_out[name] = "is made of other rewards"
        elif not texts:
            left_out[name] = f"has no default for {', '.join(due)}"
        elif encoder is None and "{encoder}" in texts[0]:
            left_out[name] = "needs an encoder"
        else:
            named = type(encoder).__name__
            rewards |= {
                t.replace("{encoder}", named): read_reward(t.replace("{encoder}", repr(encoder))) for t in texts
            }
    return rewards, left_out


def _is_due(one: dataclasses.Field) -> bool:
    return one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING


# ---------------------------------------------------------------- scoring what can be scored


@dataclass(frozen=True, eq=False)
class RunScores:
    """What one reward made of some rollouts."""

    reward: Reward
    by_trajectory: Mapping[str, Scores]  # those of trees that it could score
    refused: Counter[str] = field(default_factory=Counter)  # why the others could not be: rollouts by reason

    @property
    def why_not(self) -> str:
        """Why it says nothing of any of them; "" where it does of one."""
        if any((one.status_S == Status.SCORED).any() for one in self.by_trajectory.values()):
            return ""
        if self.refused:
            return self.refused.most_common(1)[0][0]
        failed = any((one.status_S == Status.MISSING).any() for one in self.by_trajectory.values())
        why = next((why for one in self.by_trajectory.values() for why in one.why_S if why), "")
        return f"{'missing' if failed else 'not applicable'} everywhere{f' ({why})' if why else ''}"


def score_runs(trees: Sequence[Tree], rewards: Mapping[str, Reward]) -> dict[str, RunScores]:
    """Score rollouts by every reward, group by group; where one refuses a group, its reason is kept instead."""
    return {name: _scored(trees, reward) for name, reward in rewards.items()}


def _scored(trees: Sequence[Tree], reward: Reward) -> RunScores:
    found: dict[str, Scores] = {}
    refused: Counter[str] = Counter()
    for group in (group for tree in trees for group in tree.groups()):
        try:
            scores = reward(group)
        except WorkbenchError as error:
            refused[_reason(error, group.task.id)] += len(group)
        else:
            found.update({one.id: given for one, given in zip(group, scores, strict=True)})
    return RunScores(reward, found, refused)


def _reason(error: WorkbenchError, task: str) -> str:
    """The error, the name of the one task left out, so that equal reasons count together."""
    return str(error).replace(f"task {task!r}", "the task").split(";")[0]


def score_survey(trees: Sequence[Tree], scored: Mapping[str, RunScores]) -> pd.DataFrame:
    """How each reward's totals are spread over the rollouts.

    Returns:
        One row a reward that says something: level, scored (rollouts), unscored (not applicable, missing or refused),
        mean, std, low, median, high (quantiles 0.1, 0.5, 0.9), zero (share of exact zeros), values (different ones).
    """
    import pandas as pd

    rollouts = [trajectory for tree in trees for trajectory in tree]
    rows = {name: _spread(one, rollouts) for name, one in scored.items() if not one.why_not}
    columns = ["level", "scored", "unscored", "mean", "std", "low", "median", "high", "zero", "values"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("reward")


def _spread(scored: RunScores, rollouts: Sequence[Trajectory]) -> list[object]:
    totals_N = np.array([_total(scored, one) for one in rollouts])
    known = totals_N[~np.isnan(totals_N)]
    low, median, high = np.quantile(known, [0.1, 0.5, 0.9]) if len(known) else (np.nan,) * 3
    counts = [len(known), len(totals_N) - len(known)]
    shape = [known.mean(), known.std(), low, median, high, (known == 0).mean()] if len(known) else [np.nan] * 6
    return [str(scored.reward.level), *counts, *map(float, shape), len(np.unique(known.round(9)))]


def _total(scored: RunScores, trajectory: Trajectory) -> float:
    given = scored.by_trajectory.get(trajectory.id)
    return np.nan if given is None else given.total


# ---------------------------------------------------------------- against labels


def labels_from(rows: pd.DataFrame) -> dict[tuple[str, int | None], float]:
    """Labels from rows with trajectory, step (none: how it ended) and value, as the store's table `labels` has them."""
    ended_K = rows["step"].isna()
    steps = [None if ended else int(step) for step, ended in zip(rows["step"].fillna(-1), ended_K, strict=True)]
    return dict(zip(zip(rows["trajectory"], steps, strict=True), rows["value"].astype(float), strict=True))


def labels_of_ends(trees: Sequence[Tree], scores: Sequence[Sequence[Scores]]) -> dict[tuple[str, int | None], float]:
    """How rollouts ended, by scores that came with them (a verdict, exact match): 1 where the total is 1, else -1; one
    that was not scored has no label."""
    rows = [(one, said) for tree, row in zip(trees, scores, strict=True) for one, said in zip(tree, row, strict=True)]
    totals = {(one.id, None): said.total for one, said in rows}
    return {key: 1.0 if total == 1 else -1.0 for key, total in totals.items() if not np.isnan(total)}


def auc_table(reports: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The AUCs of several label reports side by side, as text: a column a report, a row a reward, the best on top.

    ``0.51 ?`` cannot tell good from bad, ``0.42 !`` does it the wrong way round, ``-`` says nothing.
    """
    import pandas as pd

    marks = {"tells good from bad": "", "cannot tell": " ?", "the wrong way round": " !"}
    mean = pd.DataFrame({name: report["auc"] for name, report in reports.items()}).mean(axis=1)
    told = {name: report["auc"].map("{:.2f}".format) + report["verdict"].map(marks) for name, report in reports.items()}
    return pd.DataFrame(told).reindex(mean.sort_values(ascending=False, kind="stable").index).fillna("-")


def label_report(
    trees: Sequence[Tree],
    scored: Mapping[str, RunScores],
    labels: Labels,
    *,
    of: Literal["steps", "ends"] = "steps",
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Whether each reward tells what people called good from what they called bad.

    A step is judged by what the reward paid it; by a reward for whole rollouts, every step by what its rollout was
    paid. An end is judged by the total. The accuracy needs a threshold: for each fifth of the tasks the best one on
    the others, which may be "always good".

    Args:
        labels: those of 0, and all that the reward did not score, are left out.
        of: compare steps, or ends.
        resamples: how often trajectories are drawn again for the intervals.
        seed: of the random numbers.

    Returns:
        One row a reward that scored something labelled, best AUC first: items, bad (labels of -1 among them), level,
        floor (accuracy of always saying good, on the same items), accuracy, auc, and their 95 % intervals from drawing
        trajectories again (accuracy_low, accuracy_high, auc_low, auc_high); verdict: "tells good from bad", "the wrong
        way round" (the interval of the AUC lies beside 0.5), or "cannot tell".

    Raises:
        SettingError: `of` is something else.
    """
    import pandas as pd

    if of not in ("steps", "ends"):
        raise SettingError(f"of is 'steps' or 'ends', got {of!r}")
    rows = {}
    for name, one in scored.items():
        items = _items(trees, one, labels, of)
        if items.values_K.size:
            rows[name] = _compared(items, str(one.reward.level), resamples, seed)
    columns = ["items", "bad", "level", "floor", "accuracy", "accuracy_low", "accuracy_high"]
    columns += ["auc", "auc_low", "auc_high", "verdict"]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("reward")
    return table.sort_values("auc", ascending=False, kind="stable")


def label_notes(report: pd.DataFrame, rewards: Mapping[str, Reward]) -> list[str]:
    """What a label report comes to, a sentence each: which rewards tell good from bad, which of them do not look at
    golds, which are surely more accurate than always saying good."""
    tells = report.index[report["auc_low"] > 0.5]
    blind = [name for name in tells if not any("gold" in need for need in rewards[name].needs)]
    said = {
        "Tell good from bad": tells,
        "Tell good from bad without a look at golds": blind,
        "Cannot tell": report.index[report["verdict"] == "cannot tell"],
        "Pay bad ones more": report.index[report["auc_high"] < 0.5],
        "Are surely more accurate than always saying good": report.index[report["accuracy_low"] > report["floor"]],
    }
    return [f"{what} ({len(names)} of {len(report)}): {', '.join(names) or 'none'}." for what, names in said.items()]


@dataclass(frozen=True, eq=False)
class Items:
    """What is compared: one entry a labelled and scored step, or end."""

    values_K: np.ndarray
    labels_K: np.ndarray
    tasks_K: np.ndarray  # number of the tree
    clusters_K: tuple[str, ...]  # id of the trajectory


def _items(trees: Sequence[Tree], scored: RunScores, labels: Labels, of: str) -> Items:
    rows: list[tuple[float, float, int, str]] = []
    for number, tree in enumerate(trees):
        for trajectory in tree:
            paid = _values(scored, trajectory, of)
            rows += [(value, labels.get((trajectory.id, s), 0.0), number, trajectory.id) for s, value in paid]
    rows = [row for row in rows if not np.isnan(row[0]) and abs(row[1]) == 1]
    numbers = np.array([number for _, _, number, _ in rows], dtype=np.int64)
    values_K, labels_K = np.array([(value, label) for value, label, _, _ in rows]).reshape(-1, 2).T
    return Items(values_K, labels_K, numbers, tuple(name for _, _, _, name in rows))


def _values(scored: RunScores, trajectory: Trajectory, of: str) -> list[tuple[int | None, float]]:
    given = scored.by_trajectory.get(trajectory.id)
    if given is None:
        return []
    if of == "ends":
        return [(None, given.total)]
    if len(given) == len(trajectory.steps) and not given.level.single:
        return list(enumerate(given.values_S))
    return [(s, given.total) for s in range(len(trajectory.steps))]


def _compared(items: Items, level: str, resamples: int, seed: int) -> list[object]:
    ranked = _agreement(items, items.values_K, resamples, seed)
    accuracy = _agreement(items, _cross_fitted(items), resamples, seed).accuracy
    good_K = items.labels_K == 1
    counts = [len(good_K), int((~good_K).sum()), level, float(good_K.mean())]
    return [*counts, *_ends(accuracy), *_ends(ranked.auc), _verdict(ranked)]


def _agreement(items: Items, scores_K: np.ndarray, resamples: int, seed: int) -> Agreement:
    return label_accuracy(scores_K, items.labels_K, clusters_K=items.clusters_K, resamples=resamples, seed=seed)


def _ends(interval: Interval) -> tuple[float, float, float]:
    return interval.mean, interval.low, interval.high


def _verdict(ranked: Agreement) -> str:
    if ranked.auc.low > 0.5:
        return "tells good from bad"
    return "the wrong way round" if ranked.auc.high < 0.5 else "cannot tell"


def _cross_fitted(items: Items) -> np.ndarray:
    """float64 [K]: 1 good, -1 bad, by the threshold that is best on the tasks of the other folds."""
    said_K = np.ones(len(items.values_K))
    for fold in range(FOLDS):
        here_K = items.tasks_K % FOLDS == fold
        threshold = _threshold(items.values_K[~here_K], items.labels_K[~here_K])
        said_K[here_K] = np.where(items.values_K[here_K] > threshold, 1.0, -1.0)
    return said_K


def _threshold(values_K: np.ndarray, labels_K: np.ndarray) -> float:
    """The value above which to say good, for the most right answers; -inf (always good) where no other does better."""
    levels = np.unique(values_K)
    if not len(levels):
        return -np.inf
    between = [-np.inf, *((levels[1:] + levels[:-1]) / 2), np.inf]
    right = [((values_K > threshold) == (labels_K == 1)).sum() for threshold in between]
    return float(between[int(np.argmax(right))])
