"""Evaluation: intervals, retrieval metrics, efficiency, decisions, and what the terms of a reward do."""

from workbench.evaluation.decisions import decision_report, did_without
from workbench.evaluation.efficiency import efficiency_report
from workbench.evaluation.intervals import Interval, bootstrap_interval, wilson_interval
from workbench.evaluation.pass_at_k import pass_at_k
from workbench.evaluation.retrieval_metrics import retrieval_metrics
from workbench.evaluation.terms import term_report

__all__ = [
    "Interval",
    "bootstrap_interval",
    "decision_report",
    "did_without",
    "efficiency_report",
    "pass_at_k",
    "retrieval_metrics",
    "term_report",
    "wilson_interval",
]
