"""All programs of a kata, tried in its judge: the reference on one seed, and where that passes, the rest at once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from grader.bank import Kata
from grader.bank.files import read_text
from grader.judge.programs import read_programs
from grader.judge.protocol import PlannedCheck
from grader.lint import checklist, examples, solutions
from grader.lint.impostors import Impostors
from grader.lint.interface import open_names, read_interface
from grader.lint.laboratory import Laboratory, Series
from grader.lint.mistakes import Matrix, Mistakes, misdeclared
from grader.lint.report import Effort, Figures, Rule
from grader.lint.setting import Setting, Told, every_check, told
from grader.lint.solutions import Alternatives, Reference, Stub
from grader.lint.speed import mistimed
from grader.panel import judges_here


class Trial:
    """One kata in one laboratory. `figures` are whole when `run` has ended."""

    def __init__(self, kata: Kata, laboratory: Laboratory, effort: Effort) -> None:
        """Raises BadKata where mistakes.py cannot be read."""
        self.kata, self.laboratory, self.effort = kata, laboratory, effort
        self.programs = read_programs(kata)
        self.figures = Figures(alternatives=len(kata.alternatives()))

    def run(self) -> Told:
        """Everything that is wrong. Raises HarnessFault or Unavailable where nothing can be graded."""
        with ThreadPoolExecutor(1) as beside:
            prompt = beside.submit(lambda: list(examples.failing(self.kata, self.programs)))
            options = every_check(probe_rounding=True, judges=judges_here())  # all else waits for it
            first = self.laboratory.grade("the reference", self.programs.reference.source, [options])
            (graded,) = first.graded
            plan = graded.plan.checks if graded.plan else []
            self.figures = replace(self.figures, checks=len(plan), seeds=1)
            basis = [
                *told(Rule.CHECKS, checklist.misplanned(self.kata, plan)),
                *told(Rule.REFERENCE, solutions.wrong(first)),
            ]
            yield from basis or self._experiments(self._setting(plan, first))
            yield from told(Rule.EXAMPLES, prompt.result())
        if not basis:
            yield from told(Rule.BENCHES, mistimed(self.kata, self.laboratory.template, self.effort))

    def _setting(self, plan: list[PlannedCheck], first: Series) -> Setting:
        checks = tuple(check.id for check in plan)
        slow = solutions.slow_checks(first)
        return Setting(self.kata, self.laboratory, self.effort, self.programs, checks, slow, first)

    def _experiments(self, setting: Setting) -> Told:
        """All of them are queued before one is waited for, so that no thread is idle."""
        stub, reference = (read_interface(read_text(path)) for path in (self.kata.stub, self.kata.reference))
        yield from told(Rule.MISTAKES, misdeclared(self.programs.mistakes, setting.checks, reference))
        impostors, mistakes = Impostors(setting, open_names(stub)), Mistakes(setting)
        others = Reference(setting), Alternatives(setting), Stub(setting)
        for experiment in (*others, mistakes, Matrix(setting), impostors):
            yield from experiment.findings()
        self.figures = replace(
            self.figures, mistakes=mistakes.caught, impostors=impostors.unmasked, seeds=self.effort.fast
        )
