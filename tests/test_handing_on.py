"""Training sets: which trajectories, in which layout, and what the card says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from tests.builders import a_task, a_trajectory, a_tree
from workbench.cli import main
from workbench.errors import SettingError, StoreError, UnknownName, UnknownRun
from workbench.handing_on import write_dpo, write_prm, write_sft
from workbench.handing_on.choosing import runs_of
from workbench.handing_on.conversations import completion_of, prompt_of, text_of
from workbench.handing_on.folder import split_of
from workbench.scores import Part, Scores
from workbench.store import Store, open_store
from workbench.trajectory import Call, Context, End, Origin, Step, Task, Tokens, Trajectory, Tree


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with open_store(tmp_path_factory.mktemp("handing on") / "lab") as store:
        yield store


def group(task: Task, *answers: str | None, id: str = "", **told: Any) -> Tree:
    """One search each, then its answer; None: cut off after the search."""
    members = [
        a_trajectory(["p1"], answer=answer, id=f"t{n}", task=task, queries=[f"query {n}"], **told)
        for n, answer in enumerate(answers)
    ]
    return a_tree(*members, id=id or task.id)


def recorded(store: Store, trees: list[Tree], values: list[list[float]], name: str | None = None) -> str:
    """A run of these trees, each trajectory paid so much; NaN: the judge failed."""
    run = store.start_run({}, name=name)
    store.record_trees(trees, run=run)
    paid = [
        [Scores.missing("no reply") if np.isnan(value) else Scores.trajectory(value) for value in row] for row in values
    ]
    store.record_scores(trees, paid, run=run, reward='{"part": "Judge"}', version="c0de")
    return run


def lines(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    path = folder / f"{split}.jsonl"
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


# ---------------------------------------------------------------- supervised fine-tuning


def test_sft_takes_the_best_of_each_task_and_says_what_was_left_out(store: Store, tmp_path: Path):
    trees = [group(a_task("a"), "Paris", "Rome", "Lyon", None), group(a_task("b"), "Nice", "Rome", "Rome")]
    run = recorded(store, trees, [[0.5, 1.0, 1.0, 2.0], [0.25, 0.0, np.nan]])
    made = write_sft(store, tmp_path / "sft", run, least=0.25, test=0.0, progress=False)
    # a: t3 was paid most and did not answer; t1 and t2 are equal, t1 came first. b: t1 was paid too little, t2 nothing
    rows = lines(made.folder)
    assert [(row["task"], row["trajectory"], row["value"], row["run"]) for row in rows] == [
        ("a", "t1", 1.0, run),
        ("b", "t0", 0.25, run),
    ]
    assert made.rows == {"train": 2}
    assert made.left_out == {
        "did not answer": 1,
        "not scored, or a score is missing": 1,
        "paid less than 0.25": 1,
        "not among the best 1 of their task": 2,
    }
    assert "2 train rows" in repr(made) and "left out: 1 did not answer" in repr(made)
    two = write_sft(store, tmp_path / "two", run, best=2, answered=False, test=0.0, progress=False)
    assert [(row["task"], row["trajectory"]) for row in lines(two.folder)] == [
        ("a", "t1"),
        ("a", "t3"),
        ("b", "t0"),
        ("b", "t1"),
    ]


def test_sft_is_a_conversation_in_which_the_assistant_wrote_what_the_agent_wrote(store: Store, tmp_path: Path):
    run = recorded(store, [group(a_task("a"), "Paris")], [[1.0]])
    [row] = lines(write_sft(store, tmp_path / "sft", run, test=0.0, progress=False).folder)
    assert row["prompt"] == [{"role": "user", "content": "Capital of France?"}]
    assert row["completion"] == [
        {"role": "assistant", "content": "<think>thought</think><search>query 0</search>"},
        {"role": "user", "content": "\n\n<information>Doc 1(Title: Title of p1) text of p1\n</information>\n\n"},
        {"role": "assistant", "content": "<think>thought</think><answer>Paris</answer>"},
    ]


def test_what_was_shown_after_the_last_turn_is_left_off(store: Store, tmp_path: Path):
    run = recorded(store, [group(a_task("a"), None)], [[1.0]])
    [row] = lines(write_sft(store, tmp_path / "sft", run, answered=False, test=0.0, progress=False).folder)
    assert [message["role"] for message in row["completion"]] == ["assistant"]


def test_calls_beside_the_text_stay_calls_and_their_arguments_objects():
    call = Call("search", {"query": "Paris", "k": 3}, result="found")
    steps = (Step("0", "I look.", (call,), observation="found", context=Context("Capital?")), Step("1", "Paris"))
    trajectory = Trajectory("t", Task("a", "Capital?"), steps, End.ANSWERED)
    turn, shown, answer = completion_of(trajectory.steps)
    assert turn["tool_calls"][0]["function"] == {"name": "search", "arguments": {"query": "Paris", "k": 3}}
    assert shown == {"role": "tool", "tool_call_id": "call_0_0", "content": "found"}
    assert answer == {"role": "assistant", "content": "Paris"}
    assert (
        text_of(turn) == 'I look.\n<tool_call>{"name": "search", "arguments": {"query": "Paris", "k": 3}}</tool_call>'
    )


def test_chatml_is_taken_apart_so_that_it_is_framed_once():
    prompt = "<|im_start|>system\nUse tools.<|im_end|>\n<|im_start|>user\nCapital?<|im_end|>\n<|im_start|>assistant\n"
    call = '<tool_call>{"name": "search", "arguments": {"query": "x"}}</tool_call>'
    shown = "<|im_end|>\n<|im_start|>user\nA page.<|im_end|>\n<|im_start|>assistant\n"
    steps = (
        Step("0", call, (Call("search", {"query": "x"}),), observation=shown, context=Context(prompt)),
        Step("1", "Paris<|im_end|>"),
    )
    trajectory = Trajectory("t", Task("a", "Capital?"), steps, End.ANSWERED)
    assert prompt_of(trajectory) == [
        {"role": "system", "content": "Use tools."},
        {"role": "user", "content": "Capital?"},
    ]
    assert completion_of(trajectory.steps) == [
        {"role": "assistant", "content": call},
        {"role": "user", "content": "A page."},
        {"role": "assistant", "content": "Paris"},
    ]


def test_sft_tokens_are_the_sampled_ones_with_a_mask(store: Store, tmp_path: Path):
    trees = [group(a_task("a"), "Paris", tokens=2), group(a_task("b"), "Paris")]
    run = recorded(store, trees, [[1.0], [1.0]])
    made = write_sft(store, tmp_path / "sft", run, tokens=True, test=0.0, progress=False)
    [row] = lines(made.folder)
    # a prompt of two tokens; two own tokens, then two of the observation; two own tokens
    assert row["input_ids"] == [101, 102, 1, 2, 3, 4, 1, 2]
    assert row["assistant_masks"] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert made.left_out == {"carry no token ids": 1}
    assert "never tokenised again" in (made.folder / "README.md").read_text()


def rewritten() -> Trajectory:
    """The second step was sampled from a context of its own."""
    own = Tokens.join([Tokens.sampled([5], [-1.0]), Tokens.foreign([6], Origin.FORCED)])
    steps = (
        Step("0", "first", tokens=own, context=Context("long", Tokens.foreign([1, 2]))),
        Step("1", "second", tokens=Tokens.sampled([7], [-1.0]), context=Context("short", Tokens.foreign([3]))),
    )
    return Trajectory("t", a_task("a"), steps, End.ANSWERED)


def test_a_rewritten_context_is_two_rows_of_tokens_and_no_conversation(store: Store, tmp_path: Path):
    run = recorded(store, [a_tree(rewritten(), id="a")], [[1.0]])
    made = write_sft(store, tmp_path / "sft", run, tokens=True, test=0.0, progress=False)
    assert [(row["input_ids"], row["assistant_masks"]) for row in lines(made.folder)] == [
        ([1, 2, 5, 6], [0, 0, 1, 0]),
        ([3, 7], [0, 1]),
    ]
    with pytest.raises(SettingError, match="nothing is left to train on: 1 whose context was rewritten on the way"):
        write_sft(store, tmp_path / "none", run, progress=False)
    assert not (tmp_path / "none").exists() and not list(tmp_path.glob(".partly*"))


def test_what_was_said_twice_is_written_once(store: Store, tmp_path: Path):
    same = [replace(one, steps=tuple(replace(step, id=f"{n}.{s}") for s, step in enumerate(one.steps)), id=f"t{n}")
            for n, one in enumerate([a_trajectory(["p1"], answer="Paris", task=a_task("a"))] * 2)]  # fmt: skip
    run = recorded(store, [a_tree(*same, id="a")], [[1.0, 1.0]])
    made = write_sft(store, tmp_path / "sft", run, best=2, test=0.0, progress=False)
    assert made.rows == {"train": 1} and made.left_out == {"say the same as another of their task": 1}


# ---------------------------------------------------------------- preferences


def test_dpo_pairs_the_best_with_the_worst_at_the_turn_where_they_part(store: Store, tmp_path: Path):
    trees = [group(a_task("a"), "Paris", "Lyon", "Rome", "Nice"), group(a_task("b"), "Paris", "Lyon")]
    run = recorded(store, trees, [[0.0, 3.0, 1.0, 2.0], [1.0, 1.25]])
    made = write_dpo(store, tmp_path / "dpo", run, margin=0.5, pairs=2, test=0.0, progress=False)
    rows = lines(made.folder)
    # 3 against 0, then 2 against 1; in group b they are a quarter apart
    assert [(row["better"], row["worse"], row["margin"]) for row in rows] == [("t1", "t0", 3.0), ("t3", "t2", 1.0)]
    assert rows[0]["prompt"] == [{"role": "user", "content": "Capital of France?"}]
    assert rows[0]["chosen"] == [{"role": "assistant", "content": "<think>thought</think><search>query 1</search>"}]
    assert rows[0]["rejected"] == [{"role": "assistant", "content": "<think>thought</think><search>query 0</search>"}]
    assert made.left_out == {"groups without a pair more than 0.5 apart": 1}
    wide = write_dpo(store, tmp_path / "wide", run, margin=1.0, pairs=2, test=0.0, progress=False)
    assert [row["margin"] for row in lines(wide.folder)] == [3.0]  # above the margin, not at it


def test_dpo_puts_what_both_share_into_the_prompt(store: Store, tmp_path: Path):
    task = a_task("a")
    stem = a_trajectory(["p1"], task=task, id="stem").steps
    right, wrong = (
        a_trajectory(answer=answer, id=answer, task=task, shared=stem, tokens=0) for answer in ("Paris", "Lyon")
    )
    run = recorded(store, [a_tree(right, wrong, id="a")], [[1.0, 0.0]])
    [row] = lines(write_dpo(store, tmp_path / "dpo", run, test=0.0, progress=False).folder)
    assert [message["role"] for message in row["prompt"]] == ["user", "assistant", "user"]
    assert row["chosen"] == [{"role": "assistant", "content": "<think>thought</think><answer>Paris</answer>"}]
    assert row["rejected"] == [{"role": "assistant", "content": "<think>thought</think><answer>Lyon</answer>"}]


def test_dpo_of_whole_trajectories_warns_of_what_tools_said(store: Store, tmp_path: Path):
    run = recorded(store, [group(a_task("a"), "Paris", "Lyon")], [[1.0, 0.0]])
    made = write_dpo(store, tmp_path / "dpo", run, whole=True, test=0.0, progress=False)
    [row] = lines(made.folder)
    assert [message["role"] for message in row["chosen"]] == ["assistant", "user", "assistant"]
    assert "mask every message that is not the assistant's" in (made.folder / "README.md").read_text()


def test_dpo_leaves_out_pairs_that_do_not_part_at_a_turn(store: Store, tmp_path: Path):
    task = a_task("a")
    short, long = (a_trajectory(*pages, id=f"t{n}", task=task) for n, pages in enumerate(([["p1"]], [["p1"], ["p2"]])))
    right = a_trajectory(["p1"], answer="Paris", id="t1", task=task)
    other = a_trajectory(["p2"], answer="Lyon", id="t2", task=task)  # the same query brought another page
    run = recorded(store, [a_tree(short, long, id="a"), a_tree(right, other, id="b")], [[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(SettingError, match="2 pairs that do not part at a turn"):
        write_dpo(store, tmp_path / "dpo", run, progress=False)


# ---------------------------------------------------------------- steps


def test_prm_from_a_part_that_pays_steps(store: Store, tmp_path: Path):
    run, tree = store.start_run({}), group(a_task("a"), "Paris", "Lyon")
    store.record_trees([tree], run=run)
    # the first trajectory: a good search, then nothing said of the answer; the second: a search that failed to be
    # judged, a bad answer
    good, bad = Scores.steps([0.5, np.nan]), Scores.unscored(2)
    bad.miss(0, "no reply")
    bad.set(1, 0.0)
    wholes = [replace(Scores.trajectory(1.0), parts=(Part("Gain", 1.0, one),)) for one in (good, bad)]
    store.record_scores([tree], [wholes], run=run, reward="{}")
    made = write_prm(store, tmp_path / "prm", run, part="Gain", test=0.0, progress=False)
    first, second = lines(made.folder)
    search = "<think>thought</think><search>query {n}</search>"
    shown = "\n\n<information>Doc 1(Title: Title of p1) text of p1\n</information>\n\n"
    assert first["prompt"] == "Capital of France?"
    assert (first["completions"], first["labels"]) == ([search.format(n=0)], [True])
    # the search that nobody judged stands with the answer that was
    assert second["completions"] == [search.format(n=1) + shown + "<think>thought</think><answer>Lyon</answer>"]
    assert second["labels"] == [False]
    with pytest.raises(UnknownName, match="no part that pays steps 'Gian'.*Did you mean 'Gain'"):
        write_prm(store, tmp_path / "none", run, part="Gian", progress=False)


def test_prm_from_what_people_said(store: Store, tmp_path: Path):
    run, tree = store.start_run({}), group(a_task("a"), "Paris", "Lyon", "Rome")
    store.record_trees([tree], run=run)

    def say(trajectory: str, step: int, value: float, who: str) -> None:
        store.label(run, "a", trajectory, "helpful", value, step=step, who=who)

    say("t0", 0, 1.0, "ann")
    say("t0", 0, 0.0, "ann")  # she changed her mind
    say("t0", 1, 1.0, "ann")
    say("t0", 1, 1.0, "bob")
    say("t0", 1, 0.0, "cid")  # two against one
    say("t1", 0, 1.0, "ann")
    say("t1", 0, 0.0, "bob")  # even
    say("t1", 1, 1.0, "bob")
    say("t2", 0, 1.0, "bob")
    store.label(run, "a", "t2", "helpful", float("nan"), step=0, who="bob")  # withdrawn
    made = write_prm(store, tmp_path / "prm", run, label="helpful", test=0.0, progress=False)
    assert [(row["trajectory"], row["labels"]) for row in lines(made.folder)] == [("t0", [False, True]), ("t1", [True])]
    assert made.left_out == {"steps on which people are even": 1, "trajectories without a judged step": 1}
    bobs = write_prm(store, tmp_path / "bob", run, label="helpful", who="bob", test=0.0, progress=False)
    assert [(row["trajectory"], row["labels"]) for row in lines(bobs.folder)] == [("t0", [True]), ("t1", [False, True])]
    for wrong in ({}, {"part": "Gain", "label": "helpful"}):
        with pytest.raises(SettingError, match="judged by a part or by a label: give one of them"):
            write_prm(store, tmp_path / "none", run, **wrong)
    with pytest.raises(UnknownName, match="no label of steps 'helpfull'.*Did you mean 'helpful'"):
        write_prm(store, tmp_path / "none", run, label="helpfull")


# ---------------------------------------------------------------- the folder


def test_a_task_is_in_one_split_whatever_else_there_is():
    tasks = [f"task {n}" for n in range(2000)]
    held = {task for task in tasks if split_of(task, 0.25) == "test"}
    assert 440 < len(held) < 560  # a quarter of them, within three standard deviations
    assert held < {task for task in tasks if split_of(task, 0.5) == "test"}  # a larger share only adds
    assert not any(split_of(task, 0.0) == "test" for task in tasks)


def test_splits_are_by_task_and_the_same_call_writes_the_same_bytes(store: Store, tmp_path: Path):
    trees = [group(a_task(f"task {n}"), "Paris", "Lyon") for n in range(12)]
    run = recorded(store, trees, [[1.0, 0.0]] * 12)
    first, second = (write_sft(store, tmp_path / name, run, best=2, test=0.5, progress=False) for name in "ab")
    for row in (*lines(first.folder), *lines(first.folder, "test")):
        assert row in lines(first.folder, split_of(row["task"], 0.5))
    assert sum(first.rows.values()) == 24 and set(first.rows) == {"train", "test"}
    for path in first.folder.iterdir():
        assert path.read_bytes() == (second.folder / path.name).read_bytes()


def test_runs_together_and_a_part_to_rank_by(store: Store, tmp_path: Path):
    for name, answers in (("one", ("Paris", "Lyon")), ("two", ("Lyon", "Paris"))):
        store.start_run({}, name=name)
        store.record_trees([group(a_task("a"), *answers)], run=name)
        wb.rescore(store, wb.ExactMatch() - 2.0 * wb.WellFormed(), name, progress=False)
    both = {"run": ["one", "two"], "part": "ExactMatch"}
    made = write_sft(store, tmp_path / "sft", **both, best=2, test=0.0, progress=False)
    assert [(row["run"], row["trajectory"], row["value"]) for row in lines(made.folder)] == [
        ("one", "t0", 1.0),
        ("two", "t1", 1.0),
    ]
    with pytest.raises(UnknownName, match=r"no part 'ExactMach'.*Did you mean 'ExactMatch'"):
        write_sft(store, tmp_path / "none", ["one", "two"], part="ExactMach")
    with pytest.raises(UnknownRun, match="no run 'on'"):
        write_sft(store, tmp_path / "none", ["two", "on"])
    assert runs_of(store, None) == store.runs()


def test_edits_count(store: Store, tmp_path: Path):
    run = recorded(store, [group(a_task("a"), "Paris", "Lyon")], [[1.0, 0.0]])
    store.edit(run, "a", "t1", "reward", 5.0, "a better answer", who="ann")
    [row] = lines(write_sft(store, tmp_path / "sft", run, test=0.0, progress=False).folder)
    assert (row["trajectory"], row["value"]) == ("t1", 5.0)


def test_the_card_says_what_it_was_made_of(store: Store, tmp_path: Path):
    run = recorded(store, [group(a_task("a"), "Paris", "Lyon")], [[1.0, 0.0]], name="`odd`\nname")
    made = write_sft(store, tmp_path / "sft", run, least=0.5, test=0.0, progress=False)
    card = (made.folder / "README.md").read_text()
    assert card.startswith("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n")
    for line in (
        "  - name: prompt\n    list:\n    - name: role\n      dtype: string",
        '- run "`odd`\\nname": 2 trajectories',
        f'- reward version {store.versions(run).version[0]} (2 trajectories): `{{"part": "Judge"}}`',
        "- paid at least: 0.5",
        "- only answered: true",
        "- train: 1 rows",
        "- 1 paid less than 0.5",
    ):
        assert f"\n{line}\n" in card, line
    assert "assistant_only_loss=True" in card


def test_half_characters_are_replaced_and_told_and_other_odd_texts_stay(store: Store, tmp_path: Path):
    task = replace(a_task("a\0"), question="why \ud800?")
    run = recorded(store, [group(task, "\0 <b> \u2028", "\udfff")], [[1.0, 0.5]])
    made = write_sft(store, tmp_path / "sft", run, test=0.0, progress=False)
    [row] = lines(made.folder)
    assert row["task"] == "a\0" and row["prompt"] == [{"role": "user", "content": "why \ufffd?"}]
    assert row["completion"][-1]["content"] == "<think>thought</think><answer>\0 <b> \u2028</answer>"
    assert "1 rows where half a character" in (made.folder / "README.md").read_text()


def test_other_templates_markers_are_told(store: Store, tmp_path: Path):
    steps = (Step("0", "Paris<|eot_id|>", context=Context("<|start_header_id|>user<|end_header_id|>Capital?")),)
    tree = a_tree(Trajectory("t", a_task("a"), steps, End.ANSWERED), id="a")
    made = write_sft(store, tmp_path / "sft", recorded(store, [tree], [[1.0]]), test=0.0, progress=False)
    assert "1 rows hold markers of a chat template other than ChatML" in (made.folder / "README.md").read_text()


def test_a_set_never_takes_the_place_of_something(store: Store, tmp_path: Path):
    run = recorded(store, [group(a_task("a"), "Paris")], [[1.0]])
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(SettingError, match="full is there already; a training set is written to a new folder"):
        write_sft(store, tmp_path / "full", run, progress=False)
    for wrong in ({"test": 1.0}, {"test": -0.1}, {"best": 0}):
        with pytest.raises(SettingError, match="test is the share|best is how many"):
            write_sft(store, tmp_path / "none", run, **wrong)  # type: ignore[arg-type]
    for odd in ({"margin": -1.0}, {"pairs": 0}, {"margin": float("nan")}):
        with pytest.raises(SettingError, match="pairs is at least 1 and margin not negative"):
            write_dpo(store, tmp_path / "none", run, **odd)  # type: ignore[arg-type]
    store.start_run({}, name="empty")
    with pytest.raises(StoreError, match="empty holds no trajectories"):
        write_sft(store, tmp_path / "none", "empty")


def test_the_package_datasets_reads_all_three(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed; pip install datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    call = Call("search", {"query": ["x"], "k": 3}, result="found")
    steps = (Step("c0", "I look.", (call,), observation="found"), Step("c1", "\0 Paris"))
    odd = Trajectory("odd", a_task("odd"), steps, End.ANSWERED, extras={"tools": [{"type": "function"}]})
    trees = [group(a_task(f"task {n}"), "Paris", "Lyon") for n in range(6)] + [a_tree(odd, id="odd")]
    run = recorded(store, trees, [[1.0, 0.0]] * 6 + [[1.0]])
    for n in range(6):
        store.label(run, f"task {n}", "t0", "helpful", 1.0, step=0)
    sft = write_sft(store, tmp_path / "sft", run, test=0.5, progress=False)
    dpo = write_dpo(store, tmp_path / "dpo", run, test=0.5, progress=False)
    prm = write_prm(store, tmp_path / "prm", run, label="helpful", test=0.5, progress=False)
    for made in (sft, dpo, prm):
        read = datasets.load_dataset(str(made.folder), cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in read.items()} == dict(made.rows)
        for split, rows in read.items():
            for told, given in zip(rows, lines(made.folder, split), strict=True):
                assert {key: value for key, value in told.items() if value is not None} == given


def test_the_commands_write_them(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    run = recorded(store, [group(a_task("a"), "Paris", "Lyon")], [[1.0, 0.0]])
    store.label(run, "a", "t0", "helpful", 1.0, step=0)
    store.flush()
    at = ["--lab", str(store.path), "--test", "0"]
    for kind, more in (("sft", ["--least", "1"]), ("dpo", ["--margin", "0.5"]), ("prm", ["--label", "helpful"])):
        assert main(["dataset", kind, run, str(tmp_path / kind), *more, *at]) == 0
        said = capsys.readouterr().out
        assert "1 train rows" in said and str(tmp_path / kind / "README.md") in said
        assert len(lines(tmp_path / kind)) == 1
    assert main(["dataset", "sft", run, str(tmp_path / "sft"), *at]) == 2
    assert "is there already" in capsys.readouterr().err
