"""`kata lint`: whether a kata keeps what this project promises of every kata."""

from grader.lint.linting import lint, lint_all
from grader.lint.report import FULL, QUICK, Effort, Figures, Finding, Progress, Report, Rule

__all__ = ["FULL", "QUICK", "Effort", "Figures", "Finding", "Progress", "Report", "Rule", "lint", "lint_all"]
