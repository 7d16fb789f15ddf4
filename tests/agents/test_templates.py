from __future__ import annotations

import pytest

from tests.tiny_model import tiny_tokenizer
from workbench.agents.templates import TagTemplate, ToolCallTemplate
from workbench.errors import CapabilityError
from workbench.protocols import Outcome
from workbench.spec import dumps, loads
from workbench.trajectory import Call, Task

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TAGS, TOOLS = TagTemplate(), ToolCallTemplate()


def spans(template, text):
    return [(name, text[start:stop]) for name, start, stop in template.parse(text).spans]


@pytest.mark.parametrize(
    ("text", "query", "answer", "valid"),
    [
        ("<think>hm</think><search> who led it </search>", "who led it", None, True),
        ("<think>so</think>\n<answer> Paris </answer>", None, "Paris", True),
        ("<answer>first</answer><search>later</search>", None, "first", True),
        ("<search>a</search><answer>b</answer>", "a", None, True),
        ("<search>never closed", None, None, False),
        ("<search>a</answer>", None, None, False),
        ("<search></search>", "", None, True),
        ("only words", None, None, False),
    ],
)
def test_the_first_complete_block_decides(text, query, answer, valid):
    parsed = TAGS.parse(text)
    assert parsed.valid == valid
    assert [call.query for call in parsed.calls] == ([] if query is None else [query])
    assert parsed.answered == (answer is not None)
    if answer is not None:
        assert ("answer", answer) in spans(TAGS, text)


def test_thoughts_after_the_action_do_not_count():
    assert spans(TAGS, "<think> a </think><search>q</search><think>b</think>") == [("think", "a"), ("query", "q")]


@pytest.mark.parametrize("template", [TAGS, TOOLS], ids=["tags", "tools"])
@pytest.mark.parametrize("word", ['Zoë "Z" <b>', "plain", "a\nb"])
def test_what_is_written_is_read_back(template, word):
    asked = template.parse(template.write("why", query=word))
    assert [call.query for call in asked.calls] == [word] and not asked.answered
    said = template.write("why", answer=word)
    assert ("answer", word) in spans(template, said) and template.parse(said).answered


def test_a_question_gets_its_mark_and_braces_in_it_stay():
    prompt = TAGS.prompt(Task("t", " who is {x} "), (), "", None)
    assert prompt.endswith("Question: who is {x}?\n") and "<answer> Beijing </answer>" in prompt


def test_results_are_framed_as_search_r1_frames_them():
    outcome = Outcome(None, (), ("Doc 1(Title: A) b\n",))
    head, body, tail = TAGS.observation(outcome, tools_off_next=False, eos_sampled=False, tokenizer=None)
    assert head + body + tail == "\n\n<information>Doc 1(Title: A) b\n</information>\n\n"
    assert TAGS.observation(None, tools_off_next=False, eos_sampled=False, tokenizer=None)[1].startswith(
        "\nMy previous"
    )


def test_several_tool_calls_in_a_turn_and_a_broken_one():
    two = '<tool_call>{"name": "search", "arguments": {"query": "a"}}</tool_call>' * 2
    assert TOOLS.parse(two).calls == (Call("search", {"query": "a"}),) * 2
    broken = TOOLS.parse("<tool_call>{name: search}</tool_call>")
    assert not broken.valid and broken.calls == () and not broken.answered


def test_a_turn_without_a_call_is_the_answer():
    assert spans(TOOLS, "<think>t</think> It is Oslo. ") == [("think", "t"), ("answer", "It is Oslo.")]
    assert not TOOLS.parse("<think>t</think>  ").valid


def test_a_reply_is_appended_as_the_chat_template_writes_it():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = CHATML
    outcome = Outcome(None, (), ("found",))
    said = {"tools_off_next": False, "tokenizer": tokenizer}
    written = TOOLS.observation(outcome, eos_sampled=False, **said)
    assert "".join(written) == "<|im_end|>\n<|im_start|>user\nfound<|im_end|>\n<|im_start|>assistant\n"
    tokenizer.eos_token = "<|im_end|>"
    sampled = TOOLS.observation(outcome, eos_sampled=True, **said)
    assert "".join(sampled) == "\n<|im_start|>user\nfound<|im_end|>\n<|im_start|>assistant\n"


def test_a_tokenizer_without_chat_template_is_told_about():
    with pytest.raises(CapabilityError, match="no chat template"):
        TOOLS.prompt(Task("t", "q"), (), "", tiny_tokenizer())


@pytest.mark.parametrize("template", [TAGS, TOOLS, TagTemplate(search="query", chat=True)])
def test_a_template_goes_into_the_store_and_comes_back(template):
    assert loads(dumps(template)) == template
