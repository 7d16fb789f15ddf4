"""What goes wrong in multi-turn training without any error: each held here by a test.

What has a place of its own is tested there: losses and their divisors in test_losses.py, micro-batches and shared
prefixes in test_update.py, returns and advantages in tests/credit, padding of the sampler in
tests/agents/test_transformers_engine.py, both policies for missing scores in tests/rewards/test_compose.py.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import workbench
from tests.builders import a_trajectory, a_tree, own_then_foreign
from tests.tiny_model import tiny_engine, tiny_tokenizer
from tests.training.worlds import TASKS, Letter, Quiet, speaker
from workbench.agents.language_policy import LanguagePolicy
from workbench.agents.scripted import ScriptedEngine
from workbench.agents.tabular import TabularPolicy
from workbench.agents.templates import TagTemplate, ToolCallTemplate
from workbench.agents.transformers_engine import TransformersEngine
from workbench.batch import Advantages, flat_batch
from workbench.credit import GAE, BatchBaseline, GroupAdvantage, LeaveOneOut
from workbench.protocols import Limits, Prefix
from workbench.rewards import EndCase, EndRule
from workbench.rewards.score import score
from workbench.sampling.rollout import rollout
from workbench.scores import Scores
from workbench.training.learners import learner_for
from workbench.training.losses import PolicyLoss
from workbench.training.rows import training_rows
from workbench.training.update import train_on
from workbench.trajectory import Call, Context, End, Origin, Tokens, Trajectory, Tree

SHORT = TagTemplate(instruction="{question}\n")
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def rows_of(trees: Sequence[Tree]):
    batch = flat_batch(trees, [[Scores.trajectory(1.0)] * len(tree) for tree in trees])
    return training_rows(trees, Advantages(batch, np.ones(len(batch.parent_S))))


class Recording(TransformersEngine):
    """Keeps what it sampled: (prompt, ids, logprobs), conversation by conversation."""

    def generate(self, prompts, *, keys=(), **settings):
        found = super().generate(prompts, keys=keys, **settings)
        self.said = getattr(self, "said", {})
        for key, prompt, one in zip(keys, prompts, found, strict=True):
            self.said.setdefault(key, []).append((prompt.tolist(), one.ids_T.tolist(), one.logprobs_T.tolist()))
        return found


def babbler() -> LanguagePolicy:
    """Random weights over the embedded policy's merges: its turns are split as no tokenizer would split them, and hold
    halves of letters and of tags."""
    tokenizer = workbench.demo().policy.engine.tokenizer
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes))
    return LanguagePolicy(Recording(model, tokenizer), SHORT, turn_tokens=20)


# ---------------------------------------------------------------- ids


def test_ids_trained_on_are_the_ids_sampled_where_the_tokenizer_would_split_otherwise():
    policy = babbler()
    trees = rollout(policy, TASKS, Quiet(Limits(turns=3)), group_size=2, progress=False)
    rows, otherwise = rows_of(trees), 0
    assert len(rows) == 10
    for row in rows:
        said = policy.engine.said[row.trajectory.id]
        assert row.tokens.ids_T[row.train_T].tolist() == [i for _, ids, _ in said for i in ids]
        assert row.tokens.logprobs_T[row.train_T].tolist() == [logp for *_, logps in said for logp in logps]
        turns = zip(row.trajectory.steps, said, strict=True)
        otherwise += sum(policy.encode(step.text) != ids for step, (_, ids, _) in turns)
    assert otherwise > 20  # of 30 turns: this is not about ids that happen to be the usual ones


@pytest.mark.parametrize("template", [SHORT, ToolCallTemplate()], ids=["tags", "tool calls"])
def test_every_context_begins_with_the_one_before_and_all_that_was_said(template):
    said = [template.write("first", query="ein Fluß 🌊"), template.write("", query="b"), template.write("", answer="x")]
    prompts: list[list[int]] = []

    class Script(ScriptedEngine):
        def generate(self, given, **settings):
            prompts.append(given[0].tolist())
            return super().generate(given, **settings)

    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML
    policy = LanguagePolicy(Script(lambda text, rng: said[len(prompts) - 1], tokenizer), template)
    [tree] = rollout(policy, TASKS[:1], Quiet(Limits(turns=3)), group_size=1, progress=False)
    (segment,) = tree.trajectories[0].segments()
    assert len(prompts) == 3
    for before, after in itertools.pairwise([*prompts, segment.tokens.ids_T.tolist()]):
        assert after[: len(before)] == before
    whole = segment.tokens.ids_T
    own = [whole[(segment.step_T == s) & segment.tokens.own_T].tolist() for s in range(3)]
    assert own == [policy.encode(text) for text in said]


def test_a_turn_sampled_from_another_context_is_trained_on_in_that_context():
    engine = tiny_engine()
    first = a_trajectory(None, None, tokens=3)
    other = Context("shorter", Tokens.foreign([7, 8, 9]))
    changed = replace(first, steps=(first.steps[0], replace(first.steps[1], context=other)))
    rows = rows_of([a_tree(changed)])
    assert len(rows) == 2
    logp_T = learner_for(LanguagePolicy(engine)).likelihood(rows).logp_T.detach().numpy()
    own = first.steps[1].tokens.ids_T
    np.testing.assert_allclose(logp_T[3:], engine.score([other.tokens.ids_T], [own])[0], atol=1e-5)
    assert np.abs(logp_T[3:] - engine.score([np.array([101, 102, 1, 2, 3])], [own])[0]).max() > 0.01


def test_what_the_environment_wrote_is_seen_and_not_trained_on():
    learner = learner_for(speaker())
    steps = [replace(s, tokens=own_then_foreign(3, 4)) for s in a_trajectory(None, None, tokens=3).steps]
    [row] = rows_of([a_tree(replace(a_trajectory(None, None, tokens=3), steps=tuple(steps)))])
    assert (row.tokens.origins_T[row.train_T] == Origin.SAMPLED).all() and row.train_T.sum() == 6
    ids_T = row.tokens.ids_T.copy()
    ids_T[np.flatnonzero((row.tokens.origins_T == Origin.ENVIRONMENT) & (row.step_T == 0))[0]] = 60
    other = replace(row, tokens=replace(row.tokens, ids_T=ids_T))
    before_T, after_T = (learner.likelihood([one]).logp_T.detach() for one in (row, other))
    torch.testing.assert_close(before_T[:3], after_T[:3])
    assert (before_T[3:] - after_T[3:]).abs().max() > 1e-3


@pytest.mark.parametrize("pad", [0, 5], ids=["pad is eos", "no eos"])
def test_a_row_beside_longer_ones_is_as_it_is_alone(pad):
    # rows are padded with id 0: that is the eos of the tiny model, or an ordinary token of one without eos
    policy = speaker(eos_token_id=0 if pad == 0 else None)
    learner = learner_for(policy)
    trees = rollout(policy, TASKS, Quiet(), group_size=2, progress=False)
    rows = rows_of(trees)
    assert len({len(row) for row in rows}) > 2
    together_T = learner.likelihood(rows).logp_T.detach()
    alone_T = torch.cat([learner.likelihood([row]).logp_T.detach() for row in rows])
    torch.testing.assert_close(together_T, alone_T, atol=2e-5, rtol=1e-4)


# ---------------------------------------------------------------- sampler and trainer


def test_the_trainer_divides_its_logits_by_the_temperature_sampled_at():
    policy = replace(speaker(), temperature=0.6)
    rows = rows_of(rollout(policy, TASKS[:2], Quiet(), group_size=2, progress=False))
    recorded = np.concatenate([row.tokens.logprobs_T[row.train_T] for row in rows])
    logp_T, plain_T = (
        learner_for(one).likelihood(rows).logp_T.detach().numpy() for one in (policy, replace(policy, temperature=1.0))
    )
    np.testing.assert_allclose(logp_T, recorded, atol=1e-4)
    assert np.abs(plain_T - recorded).mean() > 0.05


def test_a_model_that_asks_for_top_p_or_top_k_is_sampled_from_whole_all_the_same():
    # importance weights need logprobs of the whole softmax
    engine = tiny_engine()
    prompt = np.array([1, 2, 3])
    settings = {"max_tokens": 1, "temperature": 1.0, "stop": (), "seeds": list(range(60)), "keys": ()}
    plain = engine.generate([prompt] * 60, **settings)
    engine.model.generation_config.update(top_k=1, top_p=0.01, do_sample=True)
    asked = engine.generate([prompt] * 60, **settings)
    assert [g.ids_T[0] for g in asked] == [g.ids_T[0] for g in plain] and len({g.ids_T[0] for g in asked}) > 5
    scored = engine.score([prompt] * 60, [g.ids_T for g in asked])
    np.testing.assert_allclose([g.logprobs_T[0] for g in asked], [s[0] for s in scored], atol=1e-5)


# ---------------------------------------------------------------- groups and masks


def shuffled(trees: Sequence[Tree], seed: int) -> list[Tree]:
    rng = np.random.default_rng(seed)
    mixed = [replace(t, trajectories=tuple(t.trajectories[i] for i in rng.permutation(len(t)))) for t in trees]
    return [mixed[i] for i in rng.permutation(len(mixed))]


@pytest.mark.parametrize(
    "credit",
    [GroupAdvantage(scale="std"), GroupAdvantage(returns="to_go"), LeaveOneOut(), BatchBaseline(), GAE()],
    ids=repr,
)
def test_the_order_of_rollouts_changes_no_advantage(credit):
    rng = np.random.default_rng(0)
    trees = [
        a_tree(*[a_trajectory(*[None] * int(rng.integers(1, 4)), id=f"{p}{g}", tokens=2) for g in range(4)], id=str(p))
        for p in range(3)
    ]
    paid = {t.id: Scores.steps(rng.normal(size=len(t.steps))) for tree in trees for t in tree}

    def told(drawn: Sequence[Tree]) -> dict[str, list[float]]:
        batch = flat_batch(drawn, [[paid[t.id] for t in tree] for tree in drawn])
        batch = replace(batch, values_T=np.zeros(len(batch.owner_T)))
        names = [t.id for tree in drawn for t in tree]
        return dict(zip(names, [a.tolist() for a in credit(batch).by_trajectory()], strict=True))

    first = told(trees)
    for seed in range(3):
        for name, advantages_S in told(shuffled(trees, seed)).items():
            np.testing.assert_allclose(advantages_S, first[name], atol=1e-12)


@pytest.mark.parametrize("divide_by", ["tokens", "sequences", "constant"])
def test_a_truncated_rollout_out_of_the_gradient_is_in_neither_numerator_nor_denominator(divide_by):
    policy = speaker()
    trees = rollout(policy, TASKS[:3], Quiet(), group_size=3, progress=False)
    ends = itertools.cycle([End.ANSWERED, End.TRUNCATED, End.ANSWERED])
    trees = [replace(t, trajectories=tuple(replace(one, end=next(ends)) for one in t)) for t in trees]
    rule = EndRule(truncated=EndCase(in_gradient=False))
    advantages = GroupAdvantage()(rule(flat_batch(trees, score(trees, Letter()))))
    assert advantages.batch.baseline_N.all()  # it still counts in the mean that the others are held against
    kept = [row for row in rows_of(trees) if row.trajectory.end is End.ANSWERED]
    masked = training_rows(trees, advantages)
    assert [row.trajectory.id for row in masked] == [row.trajectory.id for row in kept]
    alone = [replace(row, advantages_T=one.advantages_T) for row, one in zip(kept, masked, strict=True)]
    found = [flat_gradient(copy.deepcopy(policy), rows, PolicyLoss(divide_by=divide_by)) for rows in (masked, alone)]
    assert found[0].abs().max() > 0
    torch.testing.assert_close(found[0], found[1])


def flat_gradient(policy, rows, loss: PolicyLoss) -> torch.Tensor:
    learner = learner_for(policy)
    sgd = torch.optim.SGD(learner.parameters(), lr=0.0)
    for parameter in learner.parameters():
        parameter.grad = torch.zeros_like(parameter)
    train_on(learner, sgd, rows, loss, epochs=1, max_grad_norm=1e9, micro_batch_tokens=10**6)
    return torch.cat([p.grad.flatten() for p in learner.parameters() if p.grad is not None])


# ---------------------------------------------------------------- an agent that chooses when to stop


def walker(logit: float) -> TabularPolicy:
    """Goes on or stops, with one logit for going on."""
    actions = {"on": lambda prefix: Call("on"), "stop": lambda prefix: "done"}
    policy = TabularPolicy(actions, lambda prefix: 0)
    with torch.no_grad():
        policy.table[0, 0] = logit
    return policy


def walks(policy: TabularPolicy, most: int) -> list[tuple[float, Trajectory]]:
    """Every rollout of at most `most` turns, with its probability."""
    p = policy.probabilities(Prefix("", TASKS[0], (), "", Context("", None)))["on"]
    found = []
    for turns in range(1, most + 1):
        for last in ("stop", "on") if turns == most else ("stop",):
            names = ["on"] * (turns - 1) + [last]
            chance = float(np.prod([p if name == "on" else 1 - p for name in names]))
            found.append((chance, _walk(names, p)))
    return found


def _walk(names: Sequence[str], p: float) -> Trajectory:
    whole = a_trajectory(*[None] * len(names), id="-".join(names), tokens=1, end=End.ANSWERED, task=TASKS[0])
    number, chance = {"on": 0, "stop": 1}, {"on": p, "stop": 1 - p}
    steps = [
        replace(step, text=name, tokens=Tokens.sampled([number[name]], [np.log(chance[name])]))
        for step, name in zip(whole.steps, names, strict=True)
    ]
    return replace(whole, steps=tuple(steps))


def test_dividing_by_the_number_of_turns_is_biased_where_the_agent_chooses_when_to_stop():
    # Stopping at once pays 1, going on to the third turn 1.5, stopping in between nothing. The true gradient of the
    # expected return is known: every rollout can be listed. Divided by a constant, the product's gradient is that one;
    # divided by each rollout's own turns, the long ones count a third and it points the other way.
    logit, most = 0.6, 3

    def pays(trajectory: Trajectory) -> float:
        return {1: 1.0, 2: 0.0, 3: 1.5}[len(trajectory.steps)]

    theta = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    p = torch.sigmoid(theta)
    ((1 - p) * 1.0 + p * p * 1.5).backward()
    policy = walker(logit)
    listed = walks(policy, most)
    assert sum(chance for chance, _ in listed) == pytest.approx(1)

    def expected(divide_by: str) -> float:
        loss = PolicyLoss(clipped=False, importance_cap=None, divide_by=divide_by, length=1)
        total = 0.0
        for chance, trajectory in listed:
            batch = flat_batch([a_tree(trajectory)], [[Scores.trajectory(pays(trajectory))]])
            rows = training_rows([a_tree(trajectory)], BatchBaseline(baseline="none", returns="total")(batch))
            total -= chance * float(flat_gradient(policy, rows, loss)[0])
        return total

    assert theta.grad is not None
    assert expected("constant") == pytest.approx(float(theta.grad), rel=1e-5)
    assert float(theta.grad) > 0.05 and expected("sequences") < -0.05
