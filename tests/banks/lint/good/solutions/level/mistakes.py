"""Known wrong solutions of level."""

import numpy as np

from grader.checking import mistake


@mistake(
    "median",
    replaces="center",
    caught_by="test_center_along_an_axis",
    advice="The mean is asked for, not the median.",
)
def center(x, axis=-1):
    return x - np.median(x, axis=axis, keepdims=True)


@mistake(
    "mean_of_everything",
    replaces="_level",
    caught_by="test_center_along_an_axis",
    advice="Take the mean along the axis alone.",
)
def _level(x, axis):
    return x.mean()


@mistake(
    "adds_the_level",
    replaces="center",
    caught_by="test_center_along_an_axis",
    advice="Take the level away: you added it.",
)
def center(x, axis=-1):
    return x + _level(x, axis)


@mistake(
    "in_place",
    replaces="center",
    caught_by="test_center_makes_a_new_array",
    advice="`x -= …` writes into the caller's array: make a new one.",
)
def center(x, axis=-1):
    x -= _level(x, axis)
    return x


@mistake(
    "counts_before",
    replaces="Mean.add",
    caught_by="test_mean_follows",
    advice="Divide by the count that has the new number in it.",
)
def add(self, number):
    self.total += number
    self.count += 1
    return self.total / (self.count + 1)


@mistake(
    "last_number",
    replaces="Mean.add",
    caught_by="test_mean_follows",
    advice="Keep the sum: this forgets the numbers before.",
)
def add(self, number):
    return number
