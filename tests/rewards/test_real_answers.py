"""Answers that other code has scored: FireAct's runs carry their exact match and F1."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.builders import a_trajectory
from workbench.rewards import ExactMatch, TokenF1


@pytest.mark.parametrize("file", ["fireact_gpt35_ft", "fireact_llama2_7b", "fireact_llama2_13b"])
def test_exact_match_and_f1_agree_with_those_on_record(shared_data, file):
    with gzip.open(shared_data / "search_trajectories" / f"{file}.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    assert len(rows) > 300
    for row in rows:
        trajectory = a_trajectory(answer=row["pred"] or "", golds=row["answers"])
        assert ExactMatch()(trajectory).value == row["em"], row["id"]
        assert TokenF1()(trajectory).value == pytest.approx(row["f1"]), row["id"]
