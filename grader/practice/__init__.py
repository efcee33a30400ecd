"""What a learner does with katas: start, check, take a hint, look at the answer. Prints nothing and asks nothing."""
