"""Given to the learner of `toy` as it is."""

FACTOR = 2.0
