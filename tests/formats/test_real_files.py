"""Real files of ten projects: counts from their origin, first records checked by eye, labels where they belong."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from workbench.formats import Record, guess, read
from workbench.scores import Status
from workbench.trajectory import End, Step

COUNTS = [
    # file, format, trees, trajectories, steps, calls, hits, scored, labels
    ("search_trajectories/r1_searcher_2wiki_qwen.jsonl.gz", "r1_searcher", 359, 359, 1160, 801, 4005, 359, 0),
    ("search_trajectories/r1_searcher_bamboogle_llama.jsonl.gz", "r1_searcher", 89, 89, 323, 234, 1170, 89, 0),
    ("search_trajectories/r1_searcher_hotpotqa_qwen.jsonl.gz", "r1_searcher", 348, 348, 1067, 719, 3595, 348, 0),
    ("search_trajectories/fireact_gpt35_ft.jsonl.gz", "fireact", 343, 343, 916, 629, 0, 343, 0),
    ("search_trajectories/fireact_llama2_7b.jsonl.gz", "fireact", 365, 365, 1304, 939, 0, 365, 0),
    ("search_trajectories/tau_bench_airline_gpt4o.jsonl.gz", "tau_bench", 38, 152, 1820, 821, 0, 152, 0),
    ("search_trajectories/webdancer_sample.jsonl.gz", "openai", 147, 147, 313, 166, 0, 0, 0),
    ("agent_process_bench/trajectories.jsonl", "agent_process_bench", 37, 185, 500, 319, 1833, 0, 685),
    ("prm_bench/prmbench.jsonl.gz", "prm_bench", 4307, 4307, 58475, 0, 0, 0, 58475),
    ("log_formats/atif_openhands_hello-world.json", "atif", 1, 1, 2, 2, 0, 0, 0),
    ("log_formats/docent_sample.eval", "inspect", 15, 15, 147, 121, 0, 15, 0),
    ("log_formats/docent_tb_airline.json", "tau_bench", 1, 1, 20, 12, 0, 1, 0),
    ("log_formats/inspect_browser_agent.json", "inspect", 1, 1, 5, 4, 0, 1, 0),
    ("log_formats/inspect_popularity.eval", "inspect", 100, 100, 100, 0, 0, 100, 0),
    ("log_formats/inspect_theory-of-mind.eval", "inspect", 100, 100, 100, 0, 0, 100, 0),
    ("log_formats/langfuse_langgraph_trace.json", "langfuse", 1, 1, 2, 1, 0, 1, 0),
    ("log_formats/langfuse_openai_agents_trace.json", "langfuse", 1, 1, 2, 1, 0, 1, 0),
    ("log_formats/langfuse_pydantic_ai_trace.json", "langfuse", 1, 2, 4, 4, 0, 0, 0),
    ("log_formats/tinker_conversations.jsonl", "openai", 128, 128, 128, 0, 0, 0, 0),
]


def records(shared_data: Path, name: str) -> list[Record]:
    made = list(read(shared_data / name))
    assert all(isinstance(one, Record) for one in made), made[:3]
    return made  # type: ignore[return-value]


def steps_of(made: list[Record]) -> list[Step]:
    return [step for record in made for one in record.tree for step in one.steps]


@pytest.mark.parametrize(("name", "format", "trees", "rollouts", "steps", "calls", "hits", "scored", "labels"), COUNTS)
def test_every_row_is_read(
    name: str,
    format: str,
    trees: int,
    rollouts: int,
    steps: int,
    calls: int,
    hits: int,
    scored: int,
    labels: int,
    shared_data: Path,
):
    found = guess(shared_data / name)
    assert found.format.name == format and found.sure
    made = records(shared_data, name)
    every = steps_of(made)
    assert (len(made), sum(len(record.tree) for record in made), len(every)) == (trees, rollouts, steps)
    assert (sum(len(step.calls) for step in every), sum(len(step.hits) for step in every)) == (calls, hits)
    assert sum(s.status_S[0] == Status.SCORED or bool(s.parts) for record in made for s in record.scores) == scored
    assert sum(len(record.labels) for record in made) == labels


def test_verdicts_of_r1_searcher_add_up(shared_data: Path):
    name = "search_trajectories/r1_searcher_2wiki_qwen.jsonl.gz"
    rows = [json.loads(line) for line in gzip.decompress((shared_data / name).read_bytes()).splitlines()]
    made = records(shared_data, name)
    assert [record.scores[0].value for record in made] == [float(row["judge_correct"]) for row in rows]
    first = made[0].tree.trajectories[0]
    assert first.task.question.startswith("Which film whose director is younger, Count Cohn")
    assert (first.answer, first.task.golds) == ("The House of Mirrors", ("Key House Mirror",))
    assert [len([q for q in (s.queries) if q]) for s in first.steps] == [0]
    for record, row in zip(made, rows, strict=True):
        [trajectory] = record.tree
        assert "".join(step.text + step.observation for step in trajectory.steps) == "".join(
            piece["text"] for piece in row["steps"]
        )


def test_fireact_answers_and_exact_match_add_up(shared_data: Path):
    made = records(shared_data, "search_trajectories/fireact_gpt35_ft.jsonl.gz")
    parts = {part.name: part for part in made[0].scores[0].parts}
    assert parts["em"].scores.value == 1.0 and parts["f1"].weight == 0.0
    first = made[0].tree.trajectories[0]
    assert first.answer == "Seth MacFarlane" and len(first.steps) == 1
    assert first.steps[0].observation == "Episode finished, reward = True"


def test_webdancers_tags_become_calls_and_an_answer(shared_data: Path):
    made = records(shared_data, "search_trajectories/webdancer_sample.jsonl.gz")
    first = made[0].tree.trajectories[0]
    assert [step.calls[0].tool for step in first.steps if step.calls] == ["search"]
    assert first.steps[0].queries[0].startswith("1964 British horse race Christmas associated winner\nfamous")
    assert first.answer is not None and "Epsom Derby" in first.answer
    assert Counter(str(record.tree.trajectories[0].end) for record in made) == {"answered": 147}


def test_the_four_trials_of_a_tau_bench_task_are_one_tree(shared_data: Path):
    made = records(shared_data, "search_trajectories/tau_bench_airline_gpt4o.jsonl.gz")
    assert {len(record.tree) for record in made} == {4}
    assert made[0].tree.task.id == "0" and made[0].tree.task.extras["gold_actions"][0]["name"] == "book_reservation"
    assert [one.id for one in made[0].tree] == ["0.0", "0.1", "0.2", "0.3"]
    [docent] = records(shared_data, "log_formats/docent_tb_airline.json")
    assert docent.tree.task.question == made[0].tree.task.question


def test_labels_of_agent_process_bench_stand_at_the_messages_they_name(shared_data: Path):
    name = "agent_process_bench/trajectories.jsonl"
    rows = {row["id"]: row for row in map(json.loads, (shared_data / name).read_text().splitlines())}
    made = records(shared_data, name)
    assert {len(record.tree) for record in made} == {5}
    for record in made:
        steps = {one.id: one.steps for one in record.tree}
        for label in record.labels:
            row = rows[label.trajectory]
            if label.step is None:
                assert label.value == row["final_label"]
                continue
            turns = [n for n, message in enumerate(row["messages"]) if message["role"] == "assistant"]
            number = turns[label.step]
            assert label.value == row["step_labels"][str(number)]
            assert (row["messages"][number]["content"] or "") in steps[label.trajectory][label.step].text
    # 500 steps: every one is labelled
    assert sum(label.step is not None for record in made for label in record.labels) == 500


def test_hits_of_agent_process_bench_have_titles_texts_and_scores(shared_data: Path):
    made = records(shared_data, "agent_process_bench/trajectories.jsonl")
    first = made[0].tree.trajectories[0].steps[0]
    assert [hit.id for hit in first.hits] == ["19932942", "5611979", "16480679"]
    assert first.hits[1].title == "Brisbane Grammar School" and first.hits[1].text.startswith("Prince Alfred")
    assert first.hits[0].score == 0.85453
    assert first.queries == ("Australian city founded 1838 boarding school Prime Minister named after London school",)
    assert made[0].tree.task.golds == ("Marion, South Australia",)


def test_inspects_grades_and_answers(shared_data: Path):
    made = records(shared_data, "log_formats/inspect_popularity.eval")
    with_id_4 = next(record for record in made if record.tree.task.id == "4")
    assert with_id_4.scores[0].name == "match" and with_id_4.scores[0].value == 1.0
    assert with_id_4.tree.trajectories[0].answer == "No" and with_id_4.tree.task.golds == (" No",)
    flags = records(shared_data, "log_formats/docent_sample.eval")
    ends = Counter(str(record.tree.trajectories[0].end) for record in flags)
    assert ends[str(End.ANSWERED)] == 12
    submitted = next(record.tree.trajectories[0] for record in flags if record.tree.task.id == "15")
    assert submitted.answer is not None and submitted.answer.lower().startswith("picoctf{")


def test_a_langfuse_trace_of_three_agents(shared_data: Path):
    [record] = records(shared_data, "log_formats/langfuse_pydantic_ai_trace.json")
    joker, critic = record.tree
    assert [len(joker.steps), len(critic.steps)] == [3, 1]
    assert [call.tool for call in joker.steps[0].calls] == [
        "get_pun_suggestion",
        "get_dad_joke_suggestion",
        "get_one_liner_suggestion",
    ]
    assert joker.steps[0].calls[0].result is not None and joker.steps[0].calls[0].result.startswith("Pun idea")
    assert critic.role == "evaluator_agent" and critic.steps[0].calls[0].tool == "final_result"


def test_what_holds_no_trajectories_is_refused(shared_data: Path):
    for name in ("search_trajectories/corpus_r1_searcher.jsonl.gz", "agent_process_bench/judge_labels.jsonl.gz"):
        with pytest.raises(ValueError, match="in no format that is known"):
            guess(shared_data / name)
