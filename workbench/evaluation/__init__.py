"""Evaluation: intervals, retrieval metrics, efficiency, and what the terms of a reward do."""

from workbench.evaluation.correlation import Correlation, rank_correlation
from workbench.evaluation.efficiency import efficiency_report
from workbench.evaluation.intervals import Interval, bootstrap_interval, wilson_interval
from workbench.evaluation.pass_at_k import pass_at_k
from workbench.evaluation.retrieval_metrics import retrieval_metrics
from workbench.evaluation.terms import term_report

__all__ = [
    "Correlation",
    "Interval",
    "bootstrap_interval",
    "efficiency_report",
    "pass_at_k",
    "rank_correlation",
    "retrieval_metrics",
    "term_report",
    "wilson_interval",
]
