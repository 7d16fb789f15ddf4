"""Watching a run and steering it: listeners, the newest update, plans in force, swaps and going back."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest
import torch

from tests.training.worlds import TASKS, Letter, Quiet, guesser, right, speaker
from workbench.errors import FormatError, SettingError, TrainingError, UnknownName
from workbench.rewards import CoverageGain, ExactMatch, RepeatedDocuments, WellFormed, reward_of
from workbench.rewards.compose import reweighted, weights_of
from workbench.store import open_store
from workbench.training.changes import formula, plan_changes
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.train import resume, train

LETTERS = Letter("e") + 0.5 * Letter("a")


def table_run(updates=6, reward=right, **settings):
    return train(
        guesser(), TASKS, Quiet(), reward, updates=updates, optimiser=Optimiser(0.3), tasks_per_update=2, **settings
    )


def speech_run(updates, **settings):
    made = {"optimiser": Optimiser(3e-3), "tasks_per_update": 2, "method": DrGRPO(2), **settings}
    return train(speaker(), TASKS, Quiet(), made.pop("reward", Letter()), updates=updates, **made)


def weights(run):
    return torch.cat([tensor.flatten() for tensor in run.weights.learner.state().values()])


def held_at(run, update):
    """The run, driven by a thread and paused after at least `update` updates."""
    reached = threading.Event()
    stop = run.listen(lambda run: (run.update >= update and run.pause(), run.status == "paused" and reached.set()))
    run.start()
    assert reached.wait(60)
    stop()
    return run


# ---------------------------------------------------------------- listening


def test_a_listener_hears_of_updates_status_plans_and_the_end():
    run = table_run(2)
    heard = []
    stop = run.listen(lambda run: heard.append((run.status, run.update, run.driven)))
    for _ in run:
        run.plan = run.plan.replace(epochs=2)
    assert heard == [
        ("running", 0, True),
        ("running", 1, True),  # update 1
        ("running", 1, True),  # a new plan
        ("running", 2, True),
        ("running", 2, True),
        ("finished", 2, True),
        ("finished", 2, False),  # nobody drives it any more
    ]
    stop()
    run.plan = run.plan.replace(epochs=1)
    assert len(heard) == 7


def test_a_listener_that_fails_is_logged_and_the_run_goes_on(caplog):
    run = table_run(2)
    run.listen(lambda run: 1 / 0)
    with caplog.at_level(logging.ERROR, "workbench"):
        assert len(run.finish(show=False)) == 2
    assert "a listener of run 'run' failed; the run goes on" in caplog.text


def test_the_newest_update_can_be_looked_at():
    run = table_run(3)
    assert run.latest is None
    for report in run:
        latest = run.latest
        assert (latest.run, latest.update) == ("run", report.update)
        assert len(latest.trees) == 2 and [len(one) for one in latest.scores] == [8, 8]
        assert latest.advantages.batch.returns_N.mean() == pytest.approx(report.mean_return)


def test_a_stop_counts_once():
    run = table_run(5)
    for report in run:
        if report.update == 2:
            run.stop()
    assert (run.status, run.update) == ("stopped", 2)
    run.finish(show=False)
    assert (run.status, run.update) == ("finished", 5)


def test_a_run_is_driven_once_at_a_time():
    run = table_run(1000).start()
    assert run.driven
    with pytest.raises(TrainingError, match="already being driven"):
        run.start()
    run.stop()
    assert run.wait(20).driven is False


# ---------------------------------------------------------------- plans


def test_plans_in_force_are_kept_with_their_first_update():
    run = table_run(4)
    first = run.plan
    for report in run:
        if report.update == 2:
            run.plan = first.replace(optimiser=Optimiser(0.1))
            run.plan = second = first.replace(optimiser=Optimiser(0.2))  # the newest counts
    assert run.plans == [(1, first), (3, second)]
    assert plan_changes(first.spec(), second.spec()) == ("optimiser lr: 0.3 → 0.2",)


def test_only_a_plan_can_be_a_plan():
    with pytest.raises(SettingError, match=r"run.plan.replace\(reward=...\)"):
        table_run().plan = Letter()


def test_what_changed_is_said_in_words():
    run = speech_run(1, reward=LETTERS)
    before = run.plan.spec()
    said = {
        ("Letter(letter='a'): weight 0.5 → 0.25",): {"reward": reweighted(LETTERS, {"Letter_2": 0.25})},
        ("reward: Letter() + 0.5 * Letter(letter='a') → Letter(letter='x')",): {"reward": Letter("x")},
        ("tasks_per_update: 2 → 3", "epochs: 1 → 2"): {"epochs": 2, "tasks_per_update": 3},
        ("sampler group_size: 2 → 4",): {"sampler": DrGRPO(4).sampler},
    }
    for lines, changes in said.items():
        assert sorted(plan_changes(before, run.plan.replace(**changes).spec())) == sorted(lines)


def test_a_reward_that_cannot_be_stored_is_still_spelled():
    mixed = reward_of(lambda t: 1.0, name="mine") + 2 * ExactMatch()
    spec = table_run(1, reward=mixed).plan.spec()["reward"]
    assert "reward_of(mine, level='trajectory')" in formula(spec)
    assert formula(ExactMatch()) == "ExactMatch()"  # what is no spec is shown as it is


# ---------------------------------------------------------------- weights


def test_weights_are_read_and_changed_by_name():
    reward = ExactMatch() + 0.5 * CoverageGain() - 0.2 * RepeatedDocuments()
    assert weights_of(reward) == {"ExactMatch": 1.0, "CoverageGain": 0.5, "RepeatedDocuments": -0.2}
    changed = reweighted(reward, {"CoverageGain": 0.3})
    assert changed == ExactMatch() + 0.3 * CoverageGain() - 0.2 * RepeatedDocuments()
    assert reweighted(changed, {"CoverageGain": 0.5}) == reward


def test_terms_of_one_name_are_numbered():
    assert weights_of(LETTERS) == {"Letter": 1.0, "Letter_2": 0.5}
    assert weights_of(reweighted(LETTERS, {"Letter_2": 0.0})) == {"Letter": 1.0, "Letter_2": 0.0}


def test_a_reward_that_is_no_sum_has_one_weight():
    assert weights_of(WellFormed()) == {"WellFormed": 1.0}
    assert reweighted(WellFormed(), {"WellFormed": 0.5}) == 0.5 * WellFormed()
    assert reweighted(WellFormed(), {}) == WellFormed()


def test_a_weight_of_no_term_or_no_number_is_refused():
    with pytest.raises(UnknownName, match="no term 'CoverageGian' in the reward .* Did you mean 'CoverageGain'"):
        reweighted(ExactMatch() + CoverageGain(), {"CoverageGian": 1.0})
    with pytest.raises(SettingError, match="must be a finite number"):
        reweighted(ExactMatch() + CoverageGain(), {"CoverageGain": float("nan")})


# ---------------------------------------------------------------- going back


def test_rolled_back_and_gone_on_is_bit_for_bit_what_resuming_gives(tmp_path: Path):
    run = speech_run(4, checkpoints=tmp_path, checkpoint_every=1)
    for report in run:
        if report.update == 3:
            run.roll_back(1)
            assert run.returning == 1 and run.update == 3  # this loop drives it: before its next update
            break
    assert run.returning is None and run.update == 1  # the loop was left: at once
    list(run)
    again = resume(tmp_path / "update-00001", speaker(), TASKS, Quiet(), checkpoint_every=0)
    again.finish(show=False)
    assert torch.equal(weights(run), weights(again))
    assert [report.update for report in run.reports] == [1, 2, 3, 4]
    assert [report.mean_return for report in run.reports[1:]] == [report.mean_return for report in again.reports]
    assert [tree.id for tree in run.latest.trees] == [tree.id for tree in again.latest.trees]


def test_a_loop_that_rolls_back_goes_on_by_itself(tmp_path: Path):
    run = table_run(4, checkpoints=tmp_path, checkpoint_every=2)
    seen = []
    for report in run:
        seen.append((report.run, report.update))
        if report == run.reports[-1] and len(seen) == 4:
            run.roll_back(2)  # asked after the last update: there is more to do again
    assert seen == [("run", 1), ("run", 2), ("run", 3), ("run", 4), ("run.2", 3), ("run.2", 4)]
    assert run.status == "finished"


def test_a_run_that_nobody_drives_goes_back_at_once(tmp_path: Path):
    run = table_run(4, checkpoints=tmp_path, checkpoint_every=2)
    run.finish(show=False)
    run.roll_back(2)
    assert (run.update, run.status, run.name, run.latest, run.driven) == (2, "new", "run.2", None, False)
    assert run.continues == {"run": "run", "update": 2}
    assert [report.update for report in run.finish(show=False)] == [1, 2, 3, 4]


def test_a_paused_thread_goes_back_at_once_and_stays_paused(tmp_path: Path):
    run = held_at(table_run(1000, checkpoints=tmp_path, checkpoint_every=2), 5)
    back = threading.Event()
    run.listen(lambda run: run.status == "paused" and run.update == 2 and back.set())
    run.roll_back(2)
    assert back.wait(20)
    assert (run.name, run.paused) == ("run.2", True)
    run.stop()
    run.wait(20)
    assert run.update == 2


def test_nothing_saved_is_overwritten_and_a_branch_saves_in_its_own_folder(tmp_path: Path):
    run = table_run(6, checkpoints=tmp_path, checkpoint_every=2)
    for report in run:
        if report.update == 5:
            break
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    run.roll_back(2)
    run.plan = run.plan.replace(optimiser=Optimiser(0.1))
    run.finish(show=False)
    assert all(path.read_bytes() == was for path, was in before.items())
    assert sorted(path.name for path in tmp_path.glob("update-*")) == [f"update-0000{n}" for n in (2, 4, 5)]
    assert sorted(path.name for path in (tmp_path / "run.2").iterdir()) == ["update-00004", "update-00006"]
    found = {one.update: one.folder.parent.name for one in run.checkpoints()}
    assert found == {2: tmp_path.name, 4: "run.2", 6: "run.2"}
    run.roll_back(4)
    run.finish(show=False)
    found = {one.update: one.folder.parent.name for one in run.checkpoints()}
    assert found == {2: tmp_path.name, 4: "run.2", 6: "run.3"}
    run.roll_back(2)
    assert [one.update for one in run.checkpoints()] == [2]


def test_the_plan_of_then_comes_back_unless_another_was_set_since(tmp_path: Path):
    run = table_run(9, checkpoints=tmp_path, checkpoint_every=1)
    first = run.plan
    third = first.replace(epochs=3)
    for report in run:
        if report.update == 2:
            run.plan = first.replace(epochs=2)
        if report.update == 4:
            break
    run.roll_back(3)
    assert run.plan.epochs == 2 and [n for n, _ in run.plans] == [1, 3]
    run.roll_back(1)
    assert run.plan is first and run.plans == [(1, first)]
    for _ in run:
        run.roll_back(1)
        run.plan = third
        break
    next(iter(run))
    assert run.plans == [(1, first), (2, third)] and [report.update for report in run.reports] == [1, 2]


def test_what_is_not_there_cannot_be_gone_back_to(tmp_path: Path):
    run = table_run(2, checkpoints=tmp_path, checkpoint_every=1)
    with pytest.raises(
        SettingError, match=r"no checkpoint of update 1; there are: none yet; train\(.*checkpoint_every"
    ):
        run.roll_back(1)
    run.finish(show=False)
    with pytest.raises(SettingError, match="run 'run' has no checkpoint of update 7; there are: 1, 2"):
        run.roll_back(7)
    (tmp_path / "update-00001" / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(FormatError, match="update-00001"):
        run.roll_back(1)
    assert (run.update, run.name, run.status) == (2, "run", "finished")


def test_a_resumed_run_can_go_back_further_than_it_began(tmp_path: Path):
    table_run(4, checkpoints=tmp_path, checkpoint_every=1).finish(show=False)
    run = resume(tmp_path / "update-00003", guesser(), TASKS, Quiet(), reward=right)
    assert [one.update for one in run.checkpoints()] == [1, 2, 3]
    assert run.continues == {"run": "run", "update": 3}


def test_what_is_saved_stays_when_a_run_goes_on_from_an_older_checkpoint(tmp_path: Path):
    table_run(3, checkpoints=tmp_path, checkpoint_every=1).finish(show=False)
    kept = (tmp_path / "update-00003" / "state.json").read_bytes()
    for folder in ("from-00001", "from-00001.2"):
        run = resume(tmp_path / "update-00001", guesser(), TASKS, Quiet(), reward=right, checkpoint_every=1)
        run.finish(show=False)
        assert run.folder == tmp_path / folder
        assert [one.folder.parent.name for one in run.checkpoints()] == [tmp_path.name, folder, folder]
    assert (tmp_path / "update-00003" / "state.json").read_bytes() == kept
    longer = resume(tmp_path / "update-00003", guesser(), TASKS, Quiet(), reward=right, updates=4)
    assert longer.folder == tmp_path  # nothing is saved there after it
    longer.roll_back(2)
    again = resume(tmp_path / "update-00003", guesser(), TASKS, Quiet(), reward=right, updates=4)
    again.roll_back(1)
    assert (longer.folder, again.folder) == (tmp_path / "run.2", tmp_path / "run.2")  # nothing is saved in it yet
    longer.finish(show=False)
    again.roll_back(1)
    assert again.folder == tmp_path / "run.3"


def test_a_new_run_does_not_mix_its_checkpoints_with_anothers(tmp_path: Path):
    table_run(2, checkpoints=tmp_path, checkpoint_every=1).finish(show=False)
    with pytest.raises(SettingError, match=r"another run \(the last after update 2\); give another folder, or.*resume"):
        table_run(2, checkpoints=tmp_path)


def test_a_failed_run_can_go_back_and_go_on(tmp_path: Path):
    run = table_run(4, checkpoints=tmp_path, checkpoint_every=1)

    def breaks(trajectory):
        raise RuntimeError("judge fell over")

    with pytest.raises(RuntimeError, match="judge fell over"):
        for _ in run:
            run.plan = run.plan.replace(reward=reward_of(breaks))
    assert run.status == "failed" and isinstance(run.error, RuntimeError)
    run.roll_back(1)
    assert (run.status, run.update) == ("new", 1)
    run.plan = run.plan.replace(reward=right)
    assert run.finish(show=False)[-1].update == 4 and run.error is None


def test_in_a_lab_a_roll_back_ends_one_run_and_begins_another(tmp_path: Path):
    with open_store(tmp_path / "lab") as store:
        run = speech_run(3, recorder=store, name="baseline", checkpoint_every=1)
        for report in run:
            if report.update == 2:
                run.roll_back(1)
                break
        run.finish(show=False)
        runs = store.sql("select run, status, settings ->> '$.continues' as continues from runs order by started")
        assert runs.run.tolist() == ["baseline", "baseline.2"] and runs.status.tolist() == ["rolled back", "finished"]
        assert '"update":1' in runs.continues[1].replace(" ", "") and "baseline" in runs.continues[1]
        updates = store.sql("select run, update from reports order by run, update").to_numpy().tolist()
        assert updates == [["baseline", 1], ["baseline", 2], ["baseline.2", 2], ["baseline.2", 3]]
        same = [[tree.id for tree in store.trees(name, update=2)] for name in ("baseline", "baseline.2")]
        assert same[0] == same[1]  # drawn again, and kept beside each other
        assert len(store.sql("from plans where run = 'baseline.2'")) == 1
        saved = {path.parent.name for path in (tmp_path / "lab" / "checkpoints").glob("*/update-*")}
        assert saved == {"baseline", "baseline.2"}


def test_a_branch_whose_name_is_taken_gets_another(tmp_path: Path):
    with open_store(tmp_path / "lab") as store:
        store.start_run({}, name="a.2")
        run = table_run(2, recorder=store, name="a", checkpoint_every=1)
        run.finish(show=False)
        run.roll_back(1)
        assert run.name in store.runs() and run.name not in ("a", "a.2")
        assert run.finish(show=False)[-1].run == run.name
