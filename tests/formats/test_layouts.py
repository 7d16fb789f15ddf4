"""Every layout by hand: what stands where in the file, and what comes of it."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.formats.samples import CHAT, SAID, SAMPLES, SEARCHED, SHOWN, Rows
from workbench.formats import Record, formats, guess, read
from workbench.scores import Level, Status
from workbench.trajectory import End, Origin


def read_rows(tmp_path: Path, rows: Rows, format: str | None = None, name: str = "file.jsonl") -> list[Record]:
    """The records of these rows as a file in the format that is guessed (or named); none may be bad."""
    file = tmp_path / name
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = list(read(file, format))
    assert all(isinstance(one, Record) for one in made), made
    return made  # type: ignore[return-value]


def of(format: str, tmp_path: Path) -> list[Record]:
    return read_rows(tmp_path, SAMPLES[format])


@pytest.mark.parametrize("format", SAMPLES)
def test_every_sample_is_guessed_and_read(format: str, tmp_path: Path):
    records = of(format, tmp_path)
    found = guess(tmp_path / "file.jsonl")
    assert found.format.name == format and found.sure
    assert records and all(len(record.tree) for record in records)


def test_every_format_has_a_sample_or_is_parquet():
    assert set(formats()) == {*SAMPLES, "parquet", "trl"}


@pytest.mark.parametrize("format", SAMPLES)
def test_a_whole_document_and_an_array_are_read_too(format: str, tmp_path: Path):
    rows, expected = SAMPLES[format], of(format, tmp_path)
    (tmp_path / "array.json").write_text(json.dumps(rows, indent=2))
    assert len(list(read(tmp_path / "array.json"))) == len(expected)
    if len(rows) == 1:
        (tmp_path / "one.json").write_text(json.dumps(rows[0], indent=2))
        (tmp_path / "one.json.gz").write_bytes(gzip.compress((tmp_path / "one.json").read_bytes()))
        assert len(list(read(tmp_path / "one.json"))) == len(list(read(tmp_path / "one.json.gz"))) == len(expected)


# ---------------------------------------------------------------- tagged text


def test_a_verl_dump_is_grouped_by_prompt_and_step(tmp_path: Path):
    one, two = of("verl", tmp_path)
    assert (one.update, two.update, len(one.tree), len(two.tree)) == (7, 8, 2, 1)
    assert one.tree.task.question == "Who directed Ed Wood?" and one.tree.task.golds == ("Tim Burton",)
    first = one.tree.trajectories[0]
    assert [step.text for step in first.steps] == [SEARCHED, SAID[len(SEARCHED + SHOWN) :]]
    assert "".join(step.text + step.observation for step in first.steps) == SAID
    assert first.answer == "Tim Burton" and first.steps[0].queries == ("Ed Wood",)
    assert [hit.title for hit in first.steps[0].hits] == ["Ed Wood (film)", "Burton"]
    # the score and, with weight 0, what the reward function returned beside it; null is missing, not 0
    reward, acc = one.scores[0].parts
    assert (reward.weight, reward.scores.value, acc.name, acc.weight) == (1.0, 1.0, "acc", 0.0)
    assert one.scores[1].status_S[0] == Status.MISSING and math.isnan(one.scores[1].total)
    assert two.scores[0].total == 0.0 and two.scores[0].status_S[0] == Status.SCORED


@pytest.mark.parametrize(
    ("printed", "golds"),
    [
        ("['Ed']", ("Ed",)),
        ("""['Ed' "O'Ed"\n 'a, b']""", ("Ed", "O'Ed", "a, b")),
        ("['Ed', 'Edward']", ("Ed", "Edward")),
        ("[Ed]", ("[Ed]",)),
        ("['\\x']", ("['\\x']",)),
        ("'Ed'", ("'Ed'",)),
        ("[]", ("[]",)),
    ],
)
def test_golds_as_numpy_prints_them_are_a_list(printed: str, golds: tuple[str, ...], tmp_path: Path):
    row = {**SAMPLES["verl"][0], "gts": {"target": printed}, "acc": "True"}
    [record] = read_rows(tmp_path, [row])
    assert record.tree.task.golds == golds
    assert {part.name: part.scores.value for part in record.scores[0].parts}["acc"] == 1.0


def test_uids_of_verl_make_the_trees(tmp_path: Path):
    rows = [{**row, "step": 1, "uid": f"s{n // 2}_{n % 2}_0"} for n, row in enumerate(SAMPLES["verl"][:1] * 4)]
    assert [record.tree.id for record in read_rows(tmp_path, rows)] == ["s0", "s1"]


def test_the_notice_for_an_unreadable_turn_ends_it(tmp_path: Path):
    notice = "\nMy previous action is invalid. If I want to search, I should put the query. Let me try again.\n"
    [record] = read_rows(tmp_path, [{"input": "?", "output": f"hm{notice}<answer>x</answer>", "score": 0, "step": 1}])
    one, two = record.tree.trajectories[0].steps
    assert (one.text, one.observation, one.valid, two.text) == ("hm", notice, False, "<answer>x</answer>")


def test_a_whole_sequence_is_parted_at_the_assistants_turn(tmp_path: Path):
    head = "<|im_start|>user\nExample: <answer> Beijing </answer>. Question: Who?<|im_end|>\n<|im_start|>assistant\n"
    [record] = read_rows(tmp_path, [{"sequences_str": head + SAID, "golden_answers": ["x"], "reward": None}])
    trajectory = record.tree.trajectories[0]
    assert trajectory.steps[0].context is not None and trajectory.steps[0].context.text == head
    assert record.tree.task.question == "Who?" and trajectory.answer == "Tim Burton"
    assert record.scores[0].status_S[0] == Status.MISSING


def test_tool_calls_in_tags_and_their_responses(tmp_path: Path):
    said = (
        '<think>a</think><tool_call>{"name": "search", "arguments": {"query_list": ["x", "y"]}}</tool_call>'
        "\nuser\n<tool_response>\nfound\n</tool_response>\nassistant\n<answer>z</answer>"
    )
    [record] = read_rows(tmp_path, [{"input": "?", "output": said, "score": 1.0, "step": 1}])
    one, two = record.tree.trajectories[0].steps
    assert one.calls[0].arguments == {"query_list": ["x", "y"], "query": "x\ny"} and one.calls[0].result == "found"
    assert one.observation.endswith("assistant\n") and two.text == "<answer>z</answer>"


# ---------------------------------------------------------------- chats


def test_a_chat_becomes_steps_with_what_each_was_shown(tmp_path: Path):
    [record] = of("openai", tmp_path)
    [trajectory] = record.tree
    one, two = trajectory.steps
    assert one.context is not None and one.context.text == "You answer.\n\nWho directed Ed Wood?"
    assert (one.text, one.queries, one.observation) == ("", ("Ed Wood",), CHAT[3]["content"])
    assert one.calls[0].result == CHAT[3]["content"] and [hit.title for hit in one.hits] == ["Ed Wood"]
    assert two.span("think") == "so" and trajectory.answer == "Tim Burton"
    assert trajectory.extras["prompt"] == CHAT[:2]
    assert record.tree.task.question == "Who directed Ed Wood?" and record.scores[0].value == 0.5


def test_reasoning_beside_the_text_is_part_of_the_turn(tmp_path: Path):
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "reasoning_content": "hm", "content": "yes"}]
    [record] = read_rows(tmp_path, [{"messages": messages}])
    [step] = record.tree.trajectories[0].steps
    assert step.text == "<think>hm</think>\nyes" and step.span("think") == "hm" and step.span("answer") == "yes"


def test_arguments_that_are_no_json_make_the_call_invalid(tmp_path: Path):
    call = {"id": "1", "function": {"name": "search", "arguments": '{"query": '}}
    messages = [*CHAT[:2], {"role": "assistant", "content": "", "tool_calls": [call]}]
    [record] = read_rows(tmp_path, [{"messages": messages}])
    [trajectory] = record.tree
    [made] = trajectory.steps[0].calls
    assert not made.valid and made.error == "arguments are not JSON" and made.arguments == {"text": '{"query": '}
    assert (trajectory.end, trajectory.end_reason) == (End.TRUNCATED, "ends after a tool call")


def test_conversations_of_one_prompt_are_one_tree(tmp_path: Path):
    records = read_rows(tmp_path, [{"messages": CHAT}, {"messages": CHAT[:2] + CHAT[4:]}, {"messages": CHAT[1:]}])
    assert [len(record.tree) for record in records] == [3]
    assert [one.id for one in records[0].tree] == ["1", "2", "3"] and not records[0].scores


def test_parts_that_are_no_text_leave_a_mark(tmp_path: Path):
    content = [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "A cat."}]
    [record] = read_rows(tmp_path, [{"messages": messages}])
    assert record.tree.task.question == "Look:\n[image_url]"


# ---------------------------------------------------------------- with token ids


def test_a_verifiers_trace_keeps_ids_logprobs_and_forks(tmp_path: Path):
    record, result = of("verifiers", tmp_path)
    assert (record.tree.id, record.update, len(record.tree)) == ("g1", 5, 2)
    one, two = record.tree
    assert one.steps[0].id == two.steps[0].id and (one.answer, two.answer) == ("Tim Burton", "Ed Wood")
    first = one.steps[0]
    assert first.context is not None and first.context.tokens is not None
    assert first.context.tokens.ids_T.tolist() == [1, 2, 3] and first.tokens is not None
    assert first.tokens.ids_T.tolist() == [4, 5, 6, 7, 8]
    env, own = Origin.ENVIRONMENT, Origin.SAMPLED
    assert first.tokens.origins_T.tolist() == [env, own, own, env, env]
    np.testing.assert_array_equal(first.tokens.logprobs_T, np.float32([np.nan, -0.25, -0.5, np.nan, np.nan]))
    assert (first.policy, first.seconds, one.role) == ("qwen", 2.5, "solver")
    assert record.tree.task.golds == ("Tim Burton",) and record.tree.task.extras == {"level": "easy"}
    # correct pays 1 with weight 0.5; format was not scored, so the sum is missing; turns is a metric
    terms = {part.name: (part.weight, part.scores.total) for part in record.scores[0].parts}
    assert terms["correct"] == (0.5, 1.0) and terms["turns"] == (0.0, 2.0) and math.isnan(terms["format"][1])
    assert record.scores[0].status_S[0] == Status.MISSING
    assert result.tree.task.kind == "hotpot" and result.scores[0].total == 0.75
    assert [part.name for part in result.scores[0].parts] == ["reward", "em"]


@pytest.mark.parametrize("format", ["rllm", "nemo_gym", "atif"])
def test_prompts_and_completions_become_what_each_step_adds(format: str, tmp_path: Path):
    [record] = of(format, tmp_path)
    [trajectory] = record.tree
    one, two = trajectory.steps
    [segment] = trajectory.segments()  # append-only: the second prompt is the first, its completion, and one id more
    prompt = one.context.tokens.ids_T.tolist()  # type: ignore[union-attr]
    assert prompt == [1, 2] and two.context is None
    own = {"rllm": [2, 1], "nemo_gym": [2, 1], "atif": [1, 1]}[format]
    assert [one.own_tokens, two.own_tokens] == own
    assert len(segment.tokens) == 2 + sum(own) + 1
    assert one.tokens is not None and one.tokens.origins_T[-1] == Origin.ENVIRONMENT
    assert trajectory.answer == "Tim Burton"


def test_a_prompt_that_does_not_extend_the_last_is_a_context_of_its_own(tmp_path: Path):
    row = json.loads(json.dumps(SAMPLES["rllm"][0]))
    row["trajectories"][0]["steps"][1]["prompt_ids"] = [1, 9]
    [record] = read_rows(tmp_path, [row])
    one, two = record.tree.trajectories[0].steps
    assert two.context is not None and two.context.tokens is not None and two.context.tokens.ids_T.tolist() == [1, 9]
    assert len(record.tree.trajectories[0].segments()) == 2


def test_rllm_keeps_both_kinds_of_reward(tmp_path: Path):
    [record] = of("rllm", tmp_path)
    assert [step.native_reward for step in record.tree.trajectories[0].steps] == [0.0, 1.0]
    assert {p.name: (p.weight, p.scores.value) for p in record.scores[0].parts} == {
        "reward": (1.0, 0.5),
        "is_correct": (0.0, 1.0),
    }
    assert (record.update, record.tree.id, record.tree.task.id) == (4, "q1@4", "q1")


def test_items_of_one_turn_are_one_step(tmp_path: Path):
    [record] = of("nemo_gym", tmp_path)
    one, two = record.tree.trajectories[0].steps
    assert one.span("think") == "hm" and one.queries == ("Ed Wood",) and one.observation == "A film by Tim Burton."
    assert (two.text, two.policy) == ("Tim Burton", "qwen")


# ---------------------------------------------------------------- logs and traces


def test_inspect_scores_of_every_kind(tmp_path: Path):
    [record] = of("inspect", tmp_path)
    assert [one.id for one in record.tree] == ["q1.1", "q1.2"]
    assert [one.answer for one in record.tree] == ["Tim Burton", "Tim Burton"]  # from the attachment
    assert record.tree.task.extras == {"level": 1} and record.tree.task.golds == ("Tim Burton",)
    right = {part.name: part.scores for part in record.scores[0].parts}
    assert right["match"].value == 1.0 and right["match"].why_S == ("same name",)
    assert right["style.short"].value == 0.5 and right["style.odd"].status_S[0] == Status.MISSING
    assert {part.name: part.scores.value for part in record.scores[1].parts}["match"] == 0.0


@pytest.mark.parametrize("format", ["langfuse", "otel"])
def test_the_calls_of_a_trace_are_one_conversation(format: str, tmp_path: Path):
    [record] = of(format, tmp_path)
    [trajectory] = record.tree
    one, two = trajectory.steps
    assert one.queries == ("Ed Wood",) and "Tim Burton" in one.observation and trajectory.answer
    assert one.policy == "qwen" and one.seconds == pytest.approx(1.5 if format == "langfuse" else 1.0)


def test_langfuse_parts_what_people_said_from_what_was_computed(tmp_path: Path):
    [record] = of("langfuse", tmp_path)
    assert record.scores[0].name == "faithful" and record.scores[0].why_S == ("half",)
    [label] = record.labels
    assert (label.name, label.value, label.who, label.why, label.step) == ("helpful", 1.0, "ann", "yes", None)
    assert record.tree.trajectories[0].role == "solver"


def test_a_retrievers_documents_are_the_hits_of_its_query(tmp_path: Path):
    [record] = of("otel", tmp_path)
    [hit] = record.tree.trajectories[0].steps[0].hits
    assert (hit.id, hit.text, hit.score, hit.query) == ("p1", "A film by Tim Burton.", 0.5, "Ed Wood")


def test_two_agents_of_a_trace_are_two_trajectories(tmp_path: Path):
    row: Any = json.loads(json.dumps(SAMPLES["langfuse"][0]))
    row["observations"][1] |= {"input": [{"role": "user", "content": "Is it good?"}], "output": "Yes."}
    [record] = read_rows(tmp_path, [row])
    assert [len(one.steps) for one in record.tree] == [1, 1]
    assert [scores.total == 0.5 for scores in record.scores] == [False, True]  # the trace's score: the last one's


# ---------------------------------------------------------------- step labels


def test_prm800k_keeps_what_was_not_chosen_as_pruned_siblings(tmp_path: Path):
    [record] = of("prm800k", tmp_path)
    chosen, other = record.tree
    assert (chosen.end, chosen.answer, len(chosen.steps)) == (End.ANSWERED, "2", 2)
    assert (other.end, other.fork, [step.text for step in other.steps]) == (End.PRUNED, 0, ["Multiply."])
    said = [(label.trajectory, label.step, label.value, label.who) for label in record.labels]
    assert said == [("chosen", 0, 1.0, "l1"), ("chosen", 1, 1.0, "l1"), ("other0", 0, -1.0, "l1")]


def test_math_shepherds_marks_are_scores_of_the_steps(tmp_path: Path):
    [record] = of("math_shepherd", tmp_path)
    [trajectory] = record.tree
    assert [step.text for step in trajectory.steps] == ["Step 1: Add.", "Step 2: It is 3. The answer is: 3"]
    assert record.scores[0].level is Level.STEP and record.scores[0].values_S.tolist() == [1.0, 0.0]
    assert trajectory.answer == "3" and record.tree.task.question == "1 + 1?"
    old = {**SAMPLES["math_shepherd"][0], "label": "1 + 1? Step 1: Add. ки +\nStep 2: It is 3. The answer is: 3 ки -"}
    assert read_rows(tmp_path, [old])[0].scores[0].values_S.tolist() == [1.0, 0.0]


def test_processbench_says_nothing_after_the_first_wrong_step(tmp_path: Path):
    [record] = of("processbench", tmp_path)
    assert [(label.step, label.value) for label in record.labels] == [(0, 1.0), (1, 0.0)]
    assert record.scores[0].value == 0.0 and record.scores[0].name == "final_answer_correct"
    right = read_rows(tmp_path, [{**SAMPLES["processbench"][0], "label": -1}])[0]
    assert [label.value for label in right.labels] == [1.0, 1.0, 1.0]


def test_labels_of_agent_process_bench_land_on_the_right_steps(tmp_path: Path):
    [record] = of("agent_process_bench", tmp_path)
    assert [(label.step, label.value) for label in record.labels] == [(0, 1.0), (1, -1.0), (None, -1.0)]
    [hit] = record.tree.trajectories[0].steps[0].hits
    assert (hit.id, hit.score, hit.query) == ("p9", 0.5, "Ed Wood")


# ---------------------------------------------------------------- Parquet


def test_trl_completions_of_text_and_of_messages(tmp_path: Path):
    rows = {
        "step": [3, 3, 3],
        "prompt": ["Question: Who?\n", "Question: Who?\n", "Question: What?\n"],
        "completion": [SAID, "<answer>x</answer>", "hm"],
        "accuracy": [1.0, 0.0, math.nan],
        "format": [0.5, 0.5, math.nan],
        "note": ["a", "b", "c"],
        "advantage": [1.0, -1.0, 0.0],
    }
    pd.DataFrame(rows).to_parquet(tmp_path / "completions_00003.parquet")
    one, two = read(tmp_path / "completions_00003.parquet")
    assert isinstance(one, Record) and isinstance(two, Record)
    assert [scores.total for scores in one.scores] == [1.5, 0.5] and one.update == 3
    assert one.tree.trajectories[0].extras == {"note": "a", "advantage": 1.0}
    # both functions returned None: not applicable, and not 0
    assert two.scores[0].status_S[0] == Status.NOT_APPLICABLE
    chat = {"step": [1], "prompt": [CHAT[:2]], "completion": [CHAT[2:]], "reward": [1.0], "advantage": [0.0]}
    pd.DataFrame(chat).to_parquet(tmp_path / "chat.parquet")
    [record] = read(tmp_path / "chat.parquet")
    assert isinstance(record, Record) and record.tree.trajectories[0].answer == "Tim Burton"
    assert record.tree.trajectories[0].steps[0].queries == ("Ed Wood",)
