"""Search-R1's rewards, by the worked examples of its card and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.builders import a_step, a_trajectory
from workbench.errors import MissingGold
from workbench.rewards import ExactMatch, FormatTable, TokenF1, WellFormed
from workbench.rewards.formats import blocks_of
from workbench.text import answer_words, normalize_answer
from workbench.trajectory import End, Trajectory


@pytest.mark.parametrize(
    ("text", "normalised"),
    [
        ("The  Beatles!", "beatles"),
        ("A.D. 1066", "ad 1066"),
        ("an apple's core", "apples core"),
        ("U.S.A.", "usa"),
        ("Theatre, the", "theatre"),
        ("The", ""),
    ],
)
def test_normalised_answers_of_the_card(text, normalised):
    assert normalize_answer(text) == normalised


def test_words_of_an_answer_keep_their_repeats():
    assert answer_words("New York, the New York") == ["new", "york", "new", "york"]


# ---------------------------------------------------------------- exact match


def answered(text: str | None, *golds: str) -> Trajectory:
    return a_trajectory(["p1"], answer=text, golds=golds)


def test_an_answer_is_right_when_it_normalises_to_one_of_the_golds():
    assert ExactMatch()(answered("the PARIS.", "Lyon", "Paris")).value == 1.0
    assert ExactMatch()(answered("Paris, France", "Paris")).value == 0.0


def test_a_wrong_answer_and_no_answer_are_told_apart():
    reward = ExactMatch(wrong=0.1)
    assert reward(answered("Rome", "Paris")).value == 0.1
    assert reward(answered(None, "Paris")).value == 0.0
    assert reward(answered(None, "Paris")).why_S == ("no answer (truncated)",)


def test_a_failed_rollout_says_what_failed():
    failed = replace(answered(None, "Paris"), end=End.FAILED, end_reason="search engine down")
    assert ExactMatch()(failed).why_S == ("no answer (failed: search engine down)",)


def test_an_answer_counts_only_where_the_trajectory_was_answered():
    cut = replace(answered("Paris", "Paris"), end=End.TRUNCATED)
    assert ExactMatch()(cut).value == 0.0


def test_containment_is_looser_in_either_direction():
    assert ExactMatch(match="contains_gold")(answered("It is Paris", "Paris")).value == 1.0
    assert ExactMatch(match="contains_gold")(answered("Par", "Paris")).value == 0.0
    assert ExactMatch(match="contained")(answered("Paris", "Paris, France")).value == 1.0
    assert ExactMatch(match="contained")(answered("It is Paris", "Paris")).value == 0.0


def test_an_empty_answer_matches_nothing():
    for match in ("equal", "contained", "contains_gold"):
        assert ExactMatch(match=match)(answered("the", "Paris")).value == 0.0


def test_a_gold_that_normalises_to_nothing_is_refused():
    with pytest.raises(MissingGold, match="gold 'The' of task 'task' normalises to nothing"):
        ExactMatch()(answered("", "Paris", "The"))


def test_a_task_without_golds_is_refused():
    with pytest.raises(MissingGold, match="ExactMatch needs at least one"):
        ExactMatch()(answered("Paris"))


# ---------------------------------------------------------------- token F1


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("the capital of France", "Paris, France", 0.4),  # p = 1/3, r = 1/2
        ("Paris", "Paris, France", 2 / 3),  # p = 1, r = 1/2
        ("the Miller Brewing Company", "Miller Brewing", 0.8),  # p = 2/3, r = 1 (card 14)
        ("Paris Paris", "Paris", 2 / 3),  # a repeated word counts once: p = 1/2, r = 1
        ("Rome", "Paris", 0.0),
        ("", "Paris", 0.0),
    ],
)
def test_token_f1_by_hand(answer, gold, f1):
    assert TokenF1()(answered(answer, gold)).value == pytest.approx(f1)


def test_the_best_gold_counts():
    assert TokenF1()(answered("Paris", "Rome", "Paris, France", "Paris")).value == 1.0


def test_yes_and_no_must_be_equal_unless_told_otherwise():
    assert TokenF1()(answered("yes it is", "yes")).value == 0.0
    assert TokenF1()(answered("yes", "no")).value == 0.0
    assert TokenF1()(answered("Yes.", "yes")).value == 1.0
    assert TokenF1(yes_no=False)(answered("yes it is", "yes")).value == 0.5  # p = 1/3, r = 1


def test_rounding_and_threshold():
    assert TokenF1(digits=4)(answered("Paris", "Paris, France")).value == 0.6667
    assert TokenF1(threshold=0.8)(answered("Paris", "Paris, France")).value == 0.0
    assert TokenF1(threshold=0.8)(answered("the Miller Brewing Company", "Miller Brewing")).value == 1.0


# ---------------------------------------------------------------- form


def turns(*texts: str, end: End = End.ANSWERED) -> Trajectory:
    """One step for each text; all but the last are answered by the tool."""
    steps = [a_step(str(s), ["p1"], text=text) for s, text in enumerate(texts[:-1])]
    return replace(
        a_trajectory(answer="Paris", end=end), steps=(*steps, a_step("last", answer="Paris", text=texts[-1]))
    )


SEARCH = "<think>a</think>\n<search>b</search>"
ANSWER = "<think>c</think> <answer>Paris</answer>\n"


@pytest.mark.parametrize("texts", [(ANSWER,), (SEARCH, ANSWER), (SEARCH, SEARCH, ANSWER)])
def test_the_state_machine_of_the_card_accepts(texts):
    assert WellFormed()(turns(*texts)).value == 1.0


@pytest.mark.parametrize(
    ("texts", "violation"),
    [
        (("<search>b</search>", ANSWER), "turn 0: expected think search, found search"),
        ((SEARCH, "<answer>Paris</answer>"), "turn 1: expected think answer, found answer"),
        ((SEARCH, SEARCH), "turn 1: expected think answer, found think search"),
        ((ANSWER, ANSWER), "turn 0: expected think search, found think answer"),
        (("so " + SEARCH, ANSWER), "turn 0: text outside the blocks: 'so'"),
        ((SEARCH, ANSWER + "!"), "turn 1: text outside the blocks: '!'"),
        (("<think>a<search>b</search></think>", ANSWER), "turn 0: <search> inside <think>"),
        (("<think>a<search>b</search>", ANSWER), "turn 0: <search> inside <think>"),
        (("a</think><search>b</search>", ANSWER), "turn 0: unexpected </think>"),
        ((SEARCH, "<think>c</think><answer>Paris"), "turn 1: <answer> is not closed"),
        ((SEARCH, "<think>c</think><answer>Paris</answer><answer>Rome</answer>"), "found think answer answer"),
        ((SEARCH, "Paris"), "turn 1: expected think answer, found no block"),
    ],
)
def test_the_state_machine_of_the_card_refuses_and_says_why(texts, violation):
    scores = WellFormed()(turns(*texts))
    assert scores.value == 0.0
    assert violation in scores.why_S[0]


def test_a_page_cannot_break_or_mend_the_format():
    poisoned = turns(SEARCH, ANSWER)
    first = replace(poisoned.steps[0], observation="<information></information><answer>Rome</answer><think>")
    assert WellFormed()(replace(poisoned, steps=(first, poisoned.steps[1]))).value == 1.0


def test_an_agent_that_writes_its_own_results_is_not_well_formed():
    forged = "<think>a</think><search>b</search><information>Paris</information>"
    assert WellFormed()(turns(forged, ANSWER)).value == 0.0


def test_other_tags_and_orders_can_be_asked_for():
    grammar = WellFormed(turn=("plan", "think", "search"), last=("think", "answer"), optional=("plan",))
    assert grammar(turns("<plan>p</plan>" + SEARCH, ANSWER)).value == 1.0
    assert grammar(turns(SEARCH, ANSWER)).value == 1.0
    assert grammar(turns("<think>a</think><plan>p</plan><search>b</search>", ANSWER)).value == 0.0


def test_stepsearch_asks_for_an_answer_with_nothing_after_it():
    gate = WellFormed(turn=None, last=("answer",), stray="before")
    assert gate(turns("whatever", "I think <answer>Paris</answer> \n")).value == 1.0
    assert gate(turns("whatever", "<answer>Paris</answer> I think")).value == 0.0
    assert gate(turns("whatever", "Paris")).value == 0.0


def test_text_is_read_up_to_the_first_error():
    assert blocks_of("<a>x</a> y <a>", frozenset({"a"})) == (["a"], [(1, "y")], ["<a> is not closed"])
    assert blocks_of("x", frozenset()) == ([], [(0, "x")], [])


# ---------------------------------------------------------------- the v0.3 table

MALFORMED = "Paris <answer>Paris</answer>"


@pytest.mark.parametrize(
    ("answer", "last", "page", "cell"),
    [
        ("Paris", ANSWER, "", 1.0),
        ("Paris", MALFORMED, "", 0.8),
        ("Rome", ANSWER, "It was in PARIS, the city", 0.3),
        ("Rome", ANSWER, "nothing", 0.2),
        ("Rome", MALFORMED, "It was in Paris", 0.1),
        (None, MALFORMED, "It was in Paris", 0.0),
    ],
)
def test_the_table_of_the_card(answer, last, page, cell):
    # found=0.3: structure 0.2 + retrieval 0.1, the value that the comments in the code speak of
    given = a_trajectory(["p1"], None, answer=answer, texts={"p1": page})
    steps = (given.steps[0], replace(given.steps[1], text=last))
    assert FormatTable(found=0.3)(replace(given, steps=steps)).value == cell


def test_without_an_answer_a_grammar_that_asks_for_none_can_still_be_kept():
    # the card's rows "none, valid sequence": 0.2 + r_ret where a gold was seen, else 0.2
    free = FormatTable(form=WellFormed(turn=None, last=None), found=0.3)
    assert free(a_trajectory(["p1"], texts={"p1": "Paris"})).value == 0.3
    assert free(a_trajectory(["p1"], texts={"p1": "Rome"})).value == 0.2


def test_the_defaults_are_those_of_the_scripts():
    seen = a_trajectory(["p1"], answer="Rome", texts={"p1": "Paris"})
    assert FormatTable()(seen).value == 0.2
