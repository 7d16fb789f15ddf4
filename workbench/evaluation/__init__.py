"""Evaluation: intervals, agreement with people, retrieval metrics, efficiency, and what a reward pays for."""

from workbench.evaluation.agreement import Agreement, label_accuracy, preference_accuracy
from workbench.evaluation.correlation import Correlation, rank_correlation
from workbench.evaluation.corruptions import CORRUPTIONS, corrupted
from workbench.evaluation.decisions import decision_report, did_without
from workbench.evaluation.efficiency import efficiency_report
from workbench.evaluation.hack_probes import hack_probes
from workbench.evaluation.intervals import Interval, bootstrap_interval, wilson_interval
from workbench.evaluation.on_runs import (
    RunScores,
    auc_table,
    label_notes,
    label_report,
    labels_from,
    labels_of_ends,
    registered_rewards,
    score_runs,
    score_survey,
)
from workbench.evaluation.pass_at_k import pass_at_k
from workbench.evaluation.retrieval_metrics import retrieval_metrics
from workbench.evaluation.spec_lint import Lint, Remark, spec_lint
from workbench.evaluation.terms import term_notes, term_report

__all__ = [
    "CORRUPTIONS",
    "Agreement",
    "Correlation",
    "Interval",
    "Lint",
    "Remark",
    "RunScores",
    "auc_table",
    "bootstrap_interval",
    "corrupted",
    "decision_report",
    "did_without",
    "efficiency_report",
    "hack_probes",
    "label_accuracy",
    "label_notes",
    "label_report",
    "labels_from",
    "labels_of_ends",
    "pass_at_k",
    "preference_accuracy",
    "registered_rewards",
    "rank_correlation",
    "retrieval_metrics",
    "score_runs",
    "score_survey",
    "spec_lint",
    "term_notes",
    "term_report",
    "wilson_interval",
]
