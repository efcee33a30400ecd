"""The grader behind the `kata` command: banks of katas, the judge, its confined workers, and what people see."""

__version__ = "0.1.0"
