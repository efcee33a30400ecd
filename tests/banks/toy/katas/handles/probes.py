"""Looks at objects of the attempt, in its own process."""


def same(_module, first, second):
    return first is second


def levels(module, stack):
    return [floor.level for floor in stack.below.values()], module.__name__


def rename(_module, stack, name):
    stack.name = name
    return stack
