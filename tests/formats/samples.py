"""One small file's rows for every format that is read, as its project writes them: what tests read and break."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]
SEARCHED = "<think> Who? </think>\n<search> Ed Wood </search>"
DOCS = 'Doc 1(Title: "Ed Wood (film)") A film by Tim Burton.\nDoc 2(Title: Burton) A man.\n'
SHOWN = f"\n\n<information>{DOCS}</information>\n\n"
ANSWERED = "<think> I know. </think>\n<answer> Tim Burton </answer>"
SAID = SEARCHED + SHOWN + ANSWERED
PROMPT = "system\nYou answer.\nuser\nAnswer the question. Question: Who directed Ed Wood?\nassistant\n"
ARGUMENTS = '{"query": "Ed Wood"}'
CALL = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": ARGUMENTS}}
CHAT: Rows = [
    {"role": "system", "content": "You answer."},
    {"role": "user", "content": "Who directed Ed Wood?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "Doc 1(Title: Ed Wood) A film by Tim Burton."},
    {"role": "assistant", "content": "<think>so</think><answer>Tim Burton</answer>"},
]


def verl_row(score: float | None, step: int = 7, output: str = SAID) -> dict[str, Any]:
    return {
        "input": PROMPT,
        "output": output,
        "gts": {"target": ["Tim Burton"]},
        "score": score,
        "step": step,
        "acc": True,
    }


def node(parent: int | None, message: dict[str, Any], ids: list[int], sampled: bool = False) -> dict[str, Any]:
    """A node of a verifiers trace; its last two ids are sampled where it is."""
    mask = [sampled and n >= len(ids) - 2 for n in range(len(ids))]
    logprobs = [-0.25, -0.5] if sampled else []
    return {
        "parent": parent,
        "message": message,
        "sampled": sampled,
        "token_ids": ids,
        "mask": mask,
        "logprobs": logprobs,
    }


FLAT_CALL = {"id": "c1", "type": "function", "name": "search", "arguments": ARGUMENTS}
TASK = {"type": "Task", "data": {"idx": 3, "prompt": "Who directed Ed Wood?", "answer": "Tim Burton", "level": "easy"}}
EPISODE = {
    "id": "e1",
    "env": {"id": "search"},
    "task": TASK,
    "group": {"id": "g1"},
    "run": {"type": "train", "id": "r", "work": {"type": "train", "step": 5}},
    "ok": True,
    "traces": [
        {
            "version": 1,
            "id": "t1",
            "task": TASK,
            "agent": {"config": {}, "name": "solver"},
            "nodes": [
                node(None, CHAT[1], [1, 2, 3]),
                node(0, {"role": "assistant", "content": "", "tool_calls": [FLAT_CALL]}, [4, 5, 6], sampled=True),
                node(1, CHAT[3], [7, 8]),
                node(2, {"role": "assistant", "content": "Tim Burton"}, [9, 10], sampled=True),
                node(2, {"role": "assistant", "content": "Ed Wood"}, [9, 11], sampled=True),
            ],
            "calls": [{"node": 1, "model": "qwen", "time": {"start": 10.0, "end": 12.5}}],
            "rewards": {"correct": {"score": 1.0, "weight": 0.5}, "format": None},
            "metrics": {"turns": 2.0},
            "stop_condition": "agent_completed",
            "errors": [],
        }
    ],
}
RESULT = {
    "example_id": 3,
    "prompt": CHAT[:2],
    "completion": CHAT[2:],
    "answer": "Tim Burton",
    "info": {"level": "easy"},
    "reward": 0.75,
    "metrics": {"em": 1.0},
    "em": 1.0,
    "is_truncated": False,
    "is_completed": True,
    "stop_condition": None,
    "task": "hotpot",
}
STEP0 = [*CHAT[:2], {"role": "assistant", "content": "<search>Ed Wood</search>"}]
STEP1 = [*STEP0, {"role": "user", "content": "A film by Tim Burton."}, {"role": "assistant", "content": "Tim Burton"}]
RLLM = {
    "id": "q1:0",
    "task": {"question": "Who directed Ed Wood?", "ground_truth": "Tim Burton", "level": 1},
    "termination_reason": "env_done",
    "is_correct": True,
    "training_step": 4,
    "trajectories": [
        {
            "uid": "u",
            "name": "solver",
            "reward": 0.5,
            "steps": [
                {"prompt_ids": [1, 2], "response_ids": [3, 4], "logprobs": [-1.0, -2.0], "chat_completions": STEP0},
                {"prompt_ids": [1, 2, 3, 4, 5], "response_ids": [6], "logprobs": [-3.0], "chat_completions": STEP1}
                | {"reward": 1.0},
            ],
        }
    ],
    "metrics": {},
}
ITEM_IDS = {"prompt_token_ids": [1, 2], "generation_token_ids": [3, 4], "generation_log_probs": [-1.0, -2.0]}
NEMO_GYM = {
    "responses_create_params": {"input": [{"role": "user", "content": "Who directed Ed Wood?"}], "tools": []},
    "response": {
        "model": "qwen",
        "output": [
            {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
            {
                "type": "function_call",
                "call_id": "c1",
                "name": "search",
                "arguments": ARGUMENTS,
                **ITEM_IDS,
            },
            {"type": "function_call_output", "call_id": "c1", "output": "A film by Tim Burton."},
            {
                "type": "message",
                "id": "m",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Tim Burton", "annotations": []}],
                "prompt_token_ids": [1, 2, 3, 4, 5],
                "generation_token_ids": [6],
                "generation_log_probs": [-3.0],
            },
        ],
    },
    "expected_answer": "Tim Burton",
    "id": "q1",
    "reward": 1.0,
    "em": 1.0,
    "_ng_task_index": 0,
    "_ng_rollout_index": 2,
}
ATIF = {
    "schema_version": "ATIF-v1.6",
    "session_id": "s",
    "agent": {"name": "openhands", "version": "1", "model_name": "qwen"},
    "steps": [
        {"step_id": 1, "source": "user", "message": "Who directed Ed Wood?"},
        {
            "step_id": 2,
            "source": "agent",
            "message": "",
            "reasoning_content": "hm",
            "tool_calls": [{"tool_call_id": "c1", "function_name": "search", "arguments": {"query": "Ed Wood"}}],
            "observation": {"results": [{"source_call_id": "c1", "content": "A film by Tim Burton."}]},
            "metrics": {"prompt_token_ids": [1, 2], "completion_token_ids": [3], "logprobs": [-0.5]},
        },
        {
            "step_id": 3,
            "source": "agent",
            "message": "Tim Burton",
            "metrics": {"prompt_token_ids": [1, 2, 3, 4], "completion_token_ids": [5], "logprobs": [-1.5]},
        },
    ],
    "final_metrics": {"total_steps": 3},
}
DOCENT = {
    "id": "run1",
    "transcripts": [{"id": "t", "messages": CHAT, "metadata": {}}],
    "metadata": {"scores": {"correct": True, "cost": 0.5}, "task_id": "q1"},
}
GENERATIONS = [
    {
        "id": "o1",
        "type": "GENERATION",
        "name": "chat",
        "startTime": "2025-01-01T00:00:00.000Z",
        "endTime": "2025-01-01T00:00:01.500Z",
        "model": "qwen",
        "parentObservationId": "a",
        "input": CHAT[:2],
        "output": CHAT[2],
    },
    {
        "id": "o2",
        "type": "GENERATION",
        "name": "chat",
        "startTime": "2025-01-01T00:00:02.000Z",
        "endTime": "2025-01-01T00:00:03.000Z",
        "model": "qwen",
        "parentObservationId": "a",
        "input": CHAT[:4],
        "output": CHAT[4],
    },
    {
        "id": "a",
        "type": "AGENT",
        "name": "solver",
        "startTime": "2025-01-01T00:00:00.000Z",
        "parentObservationId": None,
    },
]
LANGFUSE = {
    "trace": {
        "id": "trace1",
        "name": "ask",
        "scores": [
            {"name": "faithful", "value": 0.5, "source": "EVAL", "comment": "half", "dataType": "NUMERIC"},
            {"name": "helpful", "value": 1, "source": "ANNOTATION", "authorUserId": "ann", "comment": "yes"},
        ],
    },
    "observations": GENERATIONS,
}


def otlp(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {"attributes": []}, "scopeSpans": [{"scope": {}, "spans": list(spans)}]}]}


def otlp_span(id: str, start: int, **attributes: Any) -> dict[str, Any]:
    kinds = {str: "stringValue", float: "doubleValue", int: "intValue"}
    listed = [{"key": key.replace("__", "."), "value": {kinds[type(v)]: v}} for key, v in attributes.items()]
    return {
        "traceId": "abc",
        "spanId": id,
        "name": id,
        "startTimeUnixNano": str(start * 10**9),
        "endTimeUnixNano": str((start + 1) * 10**9),
        "attributes": listed,
    }


OPENINFERENCE = [
    otlp(
        otlp_span(
            "llm1",
            1,
            **{
                "openinference.span.kind": "LLM",
                "llm.model_name": "qwen",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": "Who directed Ed Wood?",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.tool_calls.0.tool_call.id": "c1",
                "llm.output_messages.0.message.tool_calls.0.tool_call.function.name": "search",
                "llm.output_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"query": "Ed Wood"}',
            },
        ),
        otlp_span(
            "retriever",
            2,
            **{
                "openinference.span.kind": "RETRIEVER",
                "input.value": "Ed Wood",
                "retrieval.documents.0.document.id": "p1",
                "retrieval.documents.0.document.content": "A film by Tim Burton.",
                "retrieval.documents.0.document.score": 0.5,
            },
        ),
    ),
    otlp(
        otlp_span(
            "llm2",
            3,
            **{
                "openinference.span.kind": "LLM",
                "llm.input_messages.0.message.role": "user",
                "llm.input_messages.0.message.content": "Who directed Ed Wood?",
                "llm.input_messages.1.message.role": "assistant",
                "llm.input_messages.1.message.tool_calls.0.tool_call.id": "c1",
                "llm.input_messages.1.message.tool_calls.0.tool_call.function.name": "search",
                "llm.input_messages.1.message.tool_calls.0.tool_call.function.arguments": '{"query": "Ed Wood"}',
                "llm.input_messages.2.message.role": "tool",
                "llm.input_messages.2.message.tool_call_id": "c1",
                "llm.input_messages.2.message.content": "A film by Tim Burton.",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": "Tim Burton",
            },
        )
    ),
]
PRM800K = {
    "labeler": "l1",
    "question": {"problem": "1 + 1?", "ground_truth_answer": "2"},
    "label": {
        "steps": [
            {
                "completions": [{"text": "Add.", "rating": 1}, {"text": "Multiply.", "rating": -1}],
                "human_completion": None,
                "chosen_completion": 0,
            },
            {
                "completions": [{"text": "It is 2.\n\n# Answer\n\n2", "rating": 1}],
                "human_completion": None,
                "chosen_completion": 0,
            },
        ],
        "finish_reason": "solution",
    },
}
SHEPHERD = {
    "input": "1 + 1? Step 1: Add. ки\nStep 2: It is 3. The answer is: 3 ки",
    "label": "1 + 1? Step 1: Add. +\nStep 2: It is 3. The answer is: 3 -",
    "task": "GSM8K",
}
PROCESSBENCH = {
    "id": "gsm8k-0",
    "generator": "qwen",
    "problem": "1 + 1?",
    "steps": ["Add.", "It is 3.", "So 3."],
    "final_answer_correct": False,
    "label": 1,
}
PRM_BENCH = {
    "id": "p1",
    "question": "1 + 1?",
    "steps": ["Add.", "It is 3."],
    "error_steps": [2],
    "step_labels": [1, -1],
    "category": "circular",
    "reason": "3 is wrong",
}
TAU = {
    "task_id": 4,
    "trial": 1,
    "reward": 1.0,
    "info": {
        "task": {"instruction": "Book.", "actions": [{"name": "book", "kwargs": {}}]},
        "reward_info": {"reward": 1.0},
    },
    "traj": CHAT,
}
APB = {
    "id": "apb_0_0",
    "question": "Who directed Ed Wood?",
    "answers": ["Tim Burton"],
    "query_index": 0,
    "sample_index": 0,
    "messages": [
        *CHAT[:3],
        {**CHAT[3], "hits": [{"id": "p9", "score": 0.5}]},
        CHAT[4],
    ],
    "step_labels": {"2": 1, "4": -1},
    "final_label": -1,
}
R1_SEARCHER = {
    "id": "r1",
    "question": "Who directed Ed Wood?",
    "answers": ["Tim Burton"],
    "model": "qwen",
    "judge_correct": True,
    "judge_raw": "True",
    "stop_reason": "finished",
    "steps": [
        {"type": "think", "text": "hm"},
        {"type": "search", "text": "Ed Wood"},
        {"type": "information", "text": "(1)Title: Ed Wood Text: A film by Tim Burton."},
        {"type": "answer", "text": "Tim Burton"},
    ],
}
FIREACT = {
    "id": "f1",
    "question": "Who directed Ed Wood?",
    "answers": ["Tim Burton"],
    "model": "llama",
    "gt_norm": "tim burton",
    "pred": "tim burton",
    "em": True,
    "f1": 0.5,
    "qtype": "bridge",
    "steps": [
        {"type": "thought", "text": "hm"},
        {"type": "action", "text": "search[Ed Wood]"},
        {"type": "observation", "text": "A film by Tim Burton."},
        {"type": "thought", "text": "so"},
        {"type": "action", "text": "finish[Tim Burton]"},
    ],
}
INSPECT = {
    "version": 2,
    "status": "success",
    "eval": {"task": "search", "model": "qwen"},
    "plan": {},
    "samples": [
        {
            "id": "q1",
            "epoch": epoch,
            "input": "Who directed Ed Wood?",
            "target": ["Tim Burton"],
            "messages": [*CHAT[:4], {"role": "assistant", "content": "attachment://a1", "model": "qwen"}],
            "attachments": {"a1": "Tim Burton"},
            "output": {"choices": [{"stop_reason": "stop"}]},
            "scores": {
                "match": {"value": grade, "answer": "Tim Burton", "explanation": "same name"},
                "style": {"value": {"short": 0.5, "odd": "?"}},
            },
            "metadata": {"level": 1},
        }
        for epoch, grade in ((1, "C"), (2, "I"))
    ],
}

SAMPLES: dict[str, Rows] = {
    "agent_process_bench": [APB],
    "atif": [ATIF],
    "docent": [DOCENT],
    "fireact": [FIREACT],
    "inspect": [INSPECT],
    "jsonl": [{"task": {"id": "q", "question": "?"}, "trajectories": [{"steps": [{"text": "hm", "spans": []}]}]}],
    "langfuse": [LANGFUSE],
    "math_shepherd": [SHEPHERD],
    "nemo_gym": [NEMO_GYM],
    "openai": [{"messages": CHAT, "answers": ["Tim Burton"], "reward": 0.5}],
    "otel": OPENINFERENCE,
    "prm800k": [PRM800K],
    "prm_bench": [PRM_BENCH],
    "processbench": [PROCESSBENCH],
    "r1_searcher": [R1_SEARCHER],
    "rllm": [RLLM],
    "search_r1": [
        {"question": "Who directed Ed Wood?", "response": SAID, "golden_answers": ["Tim Burton"], "reward": 1}
    ],
    "tau_bench": [TAU],
    "verifiers": [EPISODE, RESULT],
    "verl": [verl_row(1.0), verl_row(None), verl_row(0.0, step=8)],
}
"""By format; the others (parquet, trl) are Parquet."""
