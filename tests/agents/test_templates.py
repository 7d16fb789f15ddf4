from __future__ import annotations

import pytest

from tests.tiny_model import tiny_tokenizer
from workbench.agents.templates import TagTemplate, ToolCallTemplate
from workbench.errors import CapabilityError, SettingError
from workbench.protocols import Outcome
from workbench.spec import dumps, loads
from workbench.trajectory import Call, Task

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TAGS, TOOLS = TagTemplate(), ToolCallTemplate()
MANY = TagTemplate(separator="##", most_queries=3)
LINES = TagTemplate(search="query", separator="\n")


def spans(template, text):
    return [(name, text[start:stop]) for name, start, stop in template.parse(text).spans]


def flat(observation):
    head, body, tail = observation
    return "".join((head, *body, tail))


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
    assert flat((head, body, tail)) == "\n\n<information>Doc 1(Title: A) b\n</information>\n\n"
    _, (notice,), _ = TAGS.observation(None, tools_off_next=False, eos_sampled=False, tokenizer=None)
    assert notice.startswith("\nMy previous")


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
    assert flat(written) == "<|im_end|>\n<|im_start|>user\nfound<|im_end|>\n<|im_start|>assistant\n"
    tokenizer.eos_token = "<|im_end|>"
    sampled = TOOLS.observation(outcome, eos_sampled=True, **said)
    assert flat(sampled) == "\n<|im_start|>user\nfound<|im_end|>\n<|im_start|>assistant\n"


def test_a_tokenizer_without_chat_template_is_told_about():
    with pytest.raises(CapabilityError, match="no chat template"):
        TOOLS.prompt(Task("t", "q"), (), "", tiny_tokenizer())


@pytest.mark.parametrize("template", [TAGS, TOOLS, TagTemplate(search="query", chat=True), MANY])
def test_a_template_goes_into_the_store_and_comes_back(template):
    assert loads(dumps(template)) == template


# ---------------------------------------------------------------- several queries in one block


@pytest.mark.parametrize(
    ("block", "queries"),
    [
        ("Monet birth ## Pissarro birth ##", ["Monet birth", "Pissarro birth"]),
        ("one alone", ["one alone"]),
        ("a##  ##\nb #c", ["a", "b #c"]),
    ],
)
def test_a_block_is_split_at_the_separator_and_empty_parts_are_left_out(block, queries):
    text = f"<think>t</think><search>{block}</search>"
    parsed = MANY.parse(text)
    assert [call.query for call in parsed.calls] == queries and all(call.valid for call in parsed.calls)
    assert spans(MANY, text) == [("think", "t"), *(("query", query) for query in queries)]
    assert [call.query for call in TAGS.parse(text).calls] == [block.strip()]


@pytest.mark.parametrize("block", ["", " ## ", "##"])
def test_a_block_of_nothing_but_separators_is_invalid(block):
    parsed = MANY.parse(f"<think>t</think><search>{block}</search>")
    assert not parsed.valid and parsed.calls == () and not parsed.answered


def test_what_is_over_the_cap_is_one_call_that_is_not_made():
    text = "<search>a ## b ## ## c ## d ## e </search>"
    *made, left = MANY.parse(text).calls
    assert [call.query for call in made] == ["a", "b", "c"]
    assert left.query == "d ## e" and not left.valid and "at most 3 queries" in left.error
    assert ("query", "d ## e") in spans(MANY, text)


@pytest.mark.parametrize("template", [MANY, LINES, TOOLS], ids=["##", "lines", "tools"])
@pytest.mark.parametrize("queries", [["who led it"], ["a", "b c", "a"]])
def test_several_queries_are_read_back(template, queries):
    assert [call.query for call in template.parse(template.write("why", query=queries)).calls] == queries
    assert "think" not in template.write("", query=queries)


@pytest.mark.parametrize(
    ("template", "queries"),
    [(TAGS, ["a", "b"]), (MANY, ["a ## b"]), (MANY, ["a"] * 4), (LINES, ["a\nb"]), (MANY, ["a", ""]), (MANY, [])],
)
def test_queries_that_could_not_be_read_back_are_refused(template, queries):
    with pytest.raises(SettingError, match="would be read back as"):
        template.write("why", query=queries)


def test_the_results_of_several_queries_are_told_apart():
    calls = (Call("search", {"query": "a"}), Call("search", {"query": "b"}))
    said = {"tools_off_next": False, "eos_sampled": False, "tokenizer": None}
    two = MANY.observation(Outcome(None, calls, ("Doc 1\n", "Doc 2\n")), **said)
    assert two[1] == ("Results for a:\nDoc 1\n", "Results for b:\nDoc 2\n")
    assert MANY.observation(Outcome(None, calls[:1], ("Doc 1\n",)), **said)[1] == ("Doc 1\n",)
    at_the_end = TagTemplate(heading="", cut="end")
    assert at_the_end.observation(Outcome(None, calls, ("Doc 1\n", "Doc 2\n")), **said)[1] == ("Doc 1\nDoc 2\n",)


@pytest.mark.parametrize("settings", [{"most_queries": 0}, {"cut": "middle"}])
def test_a_template_that_cannot_be_is_refused(settings):
    with pytest.raises(SettingError, match="most_queries is at least 1"):
        TagTemplate(**settings)


def test_a_turn_of_several_calls_does_not_end_at_the_first():
    several = ToolCallTemplate(several_calls=True)
    assert (TOOLS.stops, several.stops) == (("</tool_call>", "</answer>"), ("</answer>",))
    written = several.write("Both.", query=["one", "two"])
    assert [call.query for call in several.parse(written).calls] == ["one", "two"]
    assert written.count(several.stops[0]) == 0 < written.count(TOOLS.stops[0])
