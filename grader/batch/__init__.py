"""Grading many attempts: one folder a person, one row a file, whatever happens in it."""

from grader.batch.grades import Grade, Outcome, Submission, grade_all, submissions
from grader.batch.journal import Journal

__all__ = ["Grade", "Journal", "Outcome", "Submission", "grade_all", "submissions"]
