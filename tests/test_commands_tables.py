"""Tables in a terminal."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from workbench.commands.sql_command import table
from workbench.commands.tables import text_table, whole_row


def test_numbers_stand_to_the_right_and_missing_is_null():
    shown = text_table(["part", "value"], [["ExactMatch", 0.123456], ["F1", math.nan], ["F2", 12]])
    assert shown.splitlines() == [
        "part         value",
        "----------  ------",
        "ExactMatch  0.1235",
        "F1            NULL",
        "F2              12",
    ]


def test_a_table_fits_the_width_it_is_given():
    shown = text_table(["a", "b"], [["x" * 70, "y" * 70]], width=40)
    assert all(len(line) <= 40 for line in shown.splitlines())
    assert "…" in shown


def test_what_a_page_wrote_cannot_steer_the_terminal():
    shown = text_table(["text"], [["red \x1b[31m alarm\x07\nnext"]])
    assert "\x1b" not in shown and "\x07" not in shown and len(shown.splitlines()) == 3
    assert "\x1b" not in whole_row(["text"], ["red \x1b[31m"])


def test_one_row_is_shown_whole():
    shown = table(pd.DataFrame({"run": ["r1"], "text": ["first line\n" + "z" * 500]}), most=40)
    assert shown.splitlines() == ["run   r1", "text", "first line", "z" * 500]


def test_rows_left_out_are_counted():
    shown = table(pd.DataFrame({"n": range(1200)}), most=2)
    assert shown.splitlines()[-1] == "2 of 1,200 rows; --rows 1200 shows all, --csv writes them whole"


def test_every_kind_of_value_that_sql_answers_with_can_be_shown():
    frame = pd.DataFrame(
        {
            "whole": np.array([1, 2], dtype=np.int32),
            "when": pd.to_datetime(["2025-01-02 03:04:05", None]),
            "list": [np.array([1, 2]), None],
            "yes": [True, False],
            "count": pd.array([1, None], dtype="Int64"),
        }
    )
    assert table(frame, most=5).splitlines()[2:] == [
        "    1  2025-01-02 03:04:05  [1 2]  True       1",
        "    2  NULL                 NULL   False   NULL",
        "2 rows",
    ]


def test_an_answer_without_rows_says_so():
    assert table(pd.DataFrame({"a": []}), most=5).splitlines() == ["a", "-", "0 rows"]
