"""The ten questions in pandas, over a JSONL file of which a part fits in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tests.bench.size_questions import Asked

PLACE = ["run", "update", "task", "tree", "trajectory"]
WHO = ["run", "tree", "trajectory"]


class Frames:
    """The first lines of the log, taken apart once."""

    def __init__(self, file: Path, told: Mapping[str, Any], lines: int | None = None) -> None:
        with pd.read_json(file, lines=True, nrows=lines, chunksize=500, dtype=False) as chunks:
            self.log = pd.concat(list(chunks), ignore_index=True)
        self.told = told
        self.given = self._exploded("scores")
        self.scores = self.given[self.given.version == told["after"]]
        self.labels = self._exploded("labels")
        self.steps = self._exploded("steps", also=["gold_pages"])
        self.steps["step"] = self.steps.groupby(WHO).cumcount()
        self.searches = self.steps[self.steps["query"].notna()].copy()
        pairs = zip(self.searches.gold_pages, self.searches.hits, strict=True)
        self.searches["gold_hits"] = [sum(hit["id"] in gold for hit in hits) for gold, hits in pairs]

    def _exploded(self, column: str, also: list[str] | None = None) -> pd.DataFrame:
        long = self.log[[*PLACE, *(also or []), column]].explode(column, ignore_index=True).dropna(subset=[column])
        told = pd.DataFrame(long[column].tolist(), index=long.index)
        return pd.concat([long.drop(columns=column), told], axis=1)

    # ------------------------------------------------------------ questions

    def mean(self) -> pd.DataFrame:
        return self.scores.groupby(["run", "update", "part"]).value.agg(["mean", "count"]).reset_index()

    def returns(self) -> pd.DataFrame:
        """NaN where a score is missing."""
        paid = (self.scores.weight * self.scores.value).groupby([self.scores[name] for name in [*PLACE]])
        return paid.sum(skipna=False).round(9).rename("value").reset_index()

    def spread(self) -> pd.DataFrame:
        found = (
            self.returns()
            .groupby(["run", "update", "tree"])
            .value.var(ddof=0)
            .round(9)
            .rename("variance")
            .reset_index()
        )
        return found.sort_values(["variance", "run", "tree"], ascending=[False, True, True]).head(100)

    def no_gold(self) -> pd.DataFrame:
        found = self.searches[self.searches.gold_hits > 0][WHO].drop_duplicates()
        returns = self.returns().merge(found, on=WHO, how="left", indicator=True)
        kept = returns[(returns.value > self.told["above"]) & (returns["_merge"] == "left_only")]
        ordered = kept.sort_values(["value", *WHO], ascending=[False, True, True, True])
        return ordered[[*WHO, "value"]].head(1000)

    def trajectory(self) -> pd.DataFrame:
        named = {name: self.told[name] for name in WHO}
        return self._of(self.steps, named)[["step", "text", "observation"]]

    def group(self) -> pd.DataFrame:
        named = {name: self.told[name] for name in ("run", "tree")}
        found = self._of(self.steps, named).sort_values(["trajectory", "step"])
        return found[["trajectory", "step", "text", "observation", "ids", "logprobs"]]

    def hops(self) -> pd.DataFrame:
        gold = self.searches.groupby(WHO).gold_hits.agg(["size", "sum"]).reset_index()
        all_of = self.log[[*WHO, "hops"]].merge(gold, on=WHO, how="left").fillna({"size": 0, "sum": 0})
        return all_of.groupby("hops").agg(n=("size", "size"), s=("size", "mean"), g=("sum", "mean")).reset_index()

    def repeated(self) -> pd.DataFrame:
        asked = self.searches.groupby(["run", "update", *WHO[1:]])["query"].agg(["count", "nunique"])
        return (asked["count"] - asked["nunique"]).groupby(level=[0, 1]).agg(["mean", "max"]).reset_index()

    def labels_against(self) -> pd.DataFrame:
        at = [*WHO, "step"]
        given = self.given[(self.given.version == self.told["before"]) & (self.given.part == "Process")]
        said = self.labels[self.labels.name == self.told["name"]]
        both = said[[*at, "who", "value"]].merge(given[[*at, "value"]].dropna(), on=at)
        both["agree"] = (both.value_x >= 0.5) == (both.value_y >= 0.5)
        return both.groupby("who").agree.agg(["size", "mean"]).reset_index()

    def moved(self) -> pd.DataFrame:
        at = [*WHO, "part", "step"]
        sides = [self.given[self.given.version == self.told[name]][[*at, "value"]] for name in ("before", "after")]
        both = sides[0].merge(sides[1], on=at)
        by = both.value_y - both.value_x
        counted = by.ne(0) & by.notna()
        told = {"compared": both.part, "moved": counted, "by": by}
        found = pd.DataFrame(told).groupby(both.part).agg({"compared": "size", "moved": "sum", "by": "mean"})
        return found.reset_index()

    def contains(self) -> pd.DataFrame:
        found = pd.Series(False, index=self.steps.index)
        for name in ("text", "observation"):
            found |= self.steps[name].str.contains(self.told["needle"], regex=False)
        return pd.DataFrame({"steps": [int(found.sum())]})

    @staticmethod
    def _of(frame: pd.DataFrame, named: Mapping[str, Any]) -> pd.DataFrame:
        for name, value in named.items():
            frame = frame[frame[name] == value]
        return frame


def in_pandas(frames: Frames) -> Asked:
    """Each question, ready to be asked."""
    return {
        "mean by update and part": frames.mean,
        "top 100 groups by variance": frames.spread,
        "reward above x, no gold page": frames.no_gold,
        "one trajectory": frames.trajectory,
        "one group with its ids": frames.group,
        "searches by hops": frames.hops,
        "repeated queries per trajectory": frames.repeated,
        "labels against a version": frames.labels_against,
        "what moved between versions": frames.moved,
        "text contains": frames.contains,
    }
