"""The two sides of bench_training: our `train`, and TRL's GRPOTrainer, each in a process of its own.

A side prints a line when it is ready, then does one update for every line it is told, and prints what it took. Both
begin with the same weights, do the same tasks in every update, and learn so slowly (1e-6) that they stay the same
policy: they sample about as many turns and tokens, which is printed and not only hoped.

TRL reads the very turns that the policy was taught: a chat template writes prompts and observations as our template
does, a response template reads a search block as a call, and both closing tags end a turn. Each observation is cut to
the length that our environment cuts it to.
"""

from __future__ import annotations

import json
import re
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from tests.bench.size_peers import peak
from tests.bench.training_floor import floor
from workbench.agents.language_policy import LanguagePolicy
from workbench.embedded import demo
from workbench.rewards import ExactMatch, reward_of
from workbench.sampling.group import GroupSampler
from workbench.text import normalize_answer
from workbench.training.lora import add_lora
from workbench.training.method import DrGRPO
from workbench.training.plan import Optimiser
from workbench.training.train import train
from workbench.trajectory import Call, Task, Trajectory

LEARNING_RATE = 1e-6
TEMPLATE = (
    "{%- for m in messages -%}"
    "{%- if m.role == 'tool' -%}{{ '\\n\\n<information>' + m.content + '</information>\\n\\n' }}"
    "{%- else -%}{{ m.content }}{%- for call in m.tool_calls or [] -%}"
    "{%- if call.function.name == 'search' -%}{{ '<search> ' ~ call.function.arguments.query ~ ' </search>' }}"
    "{%- else -%}{{ call.function.name ~ call.function.arguments }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{%- endfor -%}"
)
RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor_pattern": r"Question: [^\n]*\n|</information>\n\n",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open": "<search>",
            "close": "</search>",
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": {"name": "search", "arguments": {"query": "{content}"}}},
        },
        "content": {"close_pattern": r"<\|im_end\|>\s*", "content": "text"},
    },
}


@dataclass(frozen=True)
class Setting:
    """What both sides do."""

    policy: str  # folder
    prompts: int
    rollouts: int  # of each prompt
    micro_batch_tokens: int
    lora: int  # rank; 0: all weights
    threads: int
    rows: int = 0  # of a micro-batch, for TRL, which counts rows
    bf16: tuple[str, ...] = ()  # sides that compute in bfloat16: ours, theirs
    lot: bool = False  # pay by lot, so that every group differs: for a policy that answers nothing right

    @property
    def tasks(self) -> list[Task]:
        return list(demo().tasks[: self.prompts])


Wait = Callable[[], None]
Tell = Callable[[dict[str, Any]], None]


class Clock:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self, name: str = "") -> dict[str, float]:
        return {f"{name}wall": time.perf_counter() - self.wall, f"{name}cpu": time.process_time() - self.cpu}


# ---------------------------------------------------------------- ours


class Timed:
    """A sampler that notes what drawing took."""

    def __init__(self, sampler: Any) -> None:
        self.sampler, self.took = sampler, {}

    def sample(self, *what: Any) -> list[Any]:
        clock = Clock()
        trees = list(self.sampler.sample(*what))
        self.took = clock.read("rollout_")
        return trees


def ours(setting: Setting, wait: Wait, tell: Tell) -> None:
    policy = LanguagePolicy.load(setting.policy)
    if "ours" in setting.bf16:
        policy.engine.compute = torch.bfloat16  # type: ignore[attr-defined]
    if setting.lora:
        add_lora(policy.engine, rank=setting.lora, alpha=2 * setting.lora)  # type: ignore[arg-type]
    sampler = Timed(GroupSampler(setting.rollouts))
    run = train(
        policy,
        setting.tasks,
        demo().environment,
        reward_of(drawn_by_lot) if setting.lot else ExactMatch(),
        method=replace(DrGRPO(), sampler=sampler),
        updates=10**6,
        tasks_per_update=setting.prompts,
        optimiser=Optimiser(LEARNING_RATE),
        micro_batch_tokens=setting.micro_batch_tokens,
    )
    steps = iter(run)
    while True:
        wait()
        clock = Clock()
        report = next(steps)
        took = clock.read() | sampler.took
        rows = [segment.tokens for tree in run.latest.trees for t in tree for segment in t.segments()]
        counts = {
            "own": sum(int(tokens.own_T.sum()) for tokens in rows),
            "turns": sum(len(t.steps) for tree in run.latest.trees for t in tree),
            "tokens": sum(len(tokens) for tokens in rows),
            "longest": max(len(tokens) for tokens in rows),
            "equal": report.equal_groups,
        }
        tell(took | counts | floor(policy, run.latest))


def drawn_by_lot(trajectory: Trajectory) -> float:
    return lot("".join(step.text for step in trajectory.steps))


def lot(text: str) -> float:
    """Says nothing, and differs between texts."""
    return zlib.crc32(text.encode()) % 1000 / 1000


# ---------------------------------------------------------------- theirs


def theirs(setting: Setting, wait: Wait, tell: Tell) -> None:
    """TRL's trainer drives itself; its callbacks wait and tell."""
    trainer(setting, wait, tell).train()


def trainer(setting: Setting, wait: Wait, tell: Tell) -> Any:
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    class Timed(trl.GRPOTrainer):
        took: dict[str, float]
        counts: dict[str, int]

        def _generate(self, prompts: list) -> Any:
            clock = Clock()
            made = super()._generate(prompts)
            self.took = clock.read("rollout_")
            self.counts = counted(*made[:3])
            return made

        def _calculate_rewards(self, *what: Any) -> Any:
            paid = super()._calculate_rewards(*what)
            groups_PG = paid.sum(1).view(-1, setting.rollouts)
            self.counts["equal"] = int((groups_PG == groups_PG[:, :1]).all(1).sum())
            return paid

    class Turns(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            wait()
            self.clock = Clock()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            tell(self.clock.read() | made.took | made.counts)

    policy = LanguagePolicy.load(setting.policy)
    model, tokenizer = policy.engine.model, policy.engine.tokenizer  # type: ignore[attr-defined]
    tokenizer.chat_template, tokenizer.response_template = TEMPLATE, RESPONSE
    model.generation_config.eos_token_id = [
        tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(["</search>", "</answer>"])
    ]  # fmt: skip
    rows, accumulated = setting.rows, setting.prompts * setting.rollouts // setting.rows
    made = Timed(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list([row(task, policy) for task in setting.tasks]),
        tools=[search_tool(policy)],
        reward_funcs=paid_by_lot if setting.lot else exact_match,
        peft_config=lora_config(setting.lora) if setting.lora else None,
        callbacks=[Turns()],
        args=trl.GRPOConfig(
            output_dir=setting.policy + "-trl",
            per_device_train_batch_size=rows,
            gradient_accumulation_steps=accumulated,
            steps_per_generation=accumulated,
            num_generations=setting.rollouts,
            max_completion_length=1500,  # never reached; a turn is bounded by max_new_tokens
            generation_kwargs={"max_new_tokens": policy.turn_tokens},
            max_tool_calling_iterations=demo().environment.limits.turns,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            adam_beta2=0.95,
            loss_type="dr_grpo",
            scale_rewards="none",
            beta=0.0,
            temperature=1.0,
            max_steps=10**6,
            use_cpu=True,
            bf16="theirs" in setting.bf16,
            gradient_checkpointing=False,
            activation_checkpointing=False,
            report_to="none",
            logging_strategy="no",
            save_strategy="no",
            disable_tqdm=True,
        ),
    )
    return made


def row(task: Task, policy: LanguagePolicy) -> dict[str, Any]:
    text = policy.template.prompt(task, (), "", policy.engine.tokenizer)
    return {"prompt": [{"role": "user", "content": text}], "golds": list(task.golds)}


def search_tool(policy: LanguagePolicy) -> Callable[[str], str]:
    environment = demo().environment
    (tool,) = environment.tools
    room = environment.limits.observation_tokens - len(policy.encode("\n\n<information></information>\n\n"))

    def search(query: str) -> str:
        """
        Find pages of the corpus by words that stand on them.

        Args:
            query: What to look for.
        """
        (call,) = tool([Call("search", {"query": query})])
        ids = policy.encode(tool.render(call))
        return policy.engine.tokenizer.decode(ids[:room])

    return search


def exact_match(completions: Sequence[Any], golds: Sequence[list[str]], **_: Any) -> list[float]:
    answers = [re.search(r"<answer>(.*?)</answer>", messages[-1]["content"]) for messages in completions]
    return [
        float(answer is not None and normalize_answer(answer[1]) in map(normalize_answer, some))
        for answer, some in zip(answers, golds, strict=True)
    ]


def paid_by_lot(completions: Sequence[Any], **_: Any) -> list[float]:
    return [lot(json.dumps(messages)) for messages in completions]


def counted(prompts: list[list[int]], completions: list[list[int]], masks: list[list[int]]) -> dict[str, int]:
    """As ours are counted."""
    lengths = [len(p) + len(c) for p, c in zip(prompts, completions, strict=True)]
    starts = [int((np.diff([0, *mask]) == 1).sum()) for mask in masks]
    return {"own": sum(map(sum, masks)), "turns": sum(starts), "tokens": sum(lengths), "longest": max(lengths)}


def lora_config(rank: int) -> Any:
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM")


# ---------------------------------------------------------------- the process


def main() -> None:
    side, told = sys.argv[1], json.loads(sys.argv[2])
    setting = Setting(**told)
    torch.set_num_threads(setting.threads)
    out, sys.stdout = sys.stdout, sys.stderr  # whatever else prints

    def say(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=out, flush=True)

    def wait() -> None:
        say({"ready": True, "held": peak()})
        if sys.stdin.readline().strip() != "update":
            raise SystemExit

    {"ours": ours, "theirs": theirs}[side](setting, wait, lambda took: say(took | {"peak": peak()}))


if __name__ == "__main__":
    main()
