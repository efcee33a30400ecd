from grader.sandbox.confine import confine

result = confine(policy)
