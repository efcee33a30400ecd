"""Mistakes of every shape: functions, classes, methods, several at once, with helpers."""
# ruff: noqa: F811, F821, ARG001 — each takes the name it replaces and uses names of the reference

import time

from grader.checking import mistake


def half(x):
    return x / 2


@mistake("halves", replaces="double", caught_by="test_double_is_twice", advice="Twice, not half.")
def double(x):
    return half(x)


@mistake("squares", replaces="double", caught_by="test_double_is_twice", advice="Twice, not squared.")
def double(x):
    return x * x


@mistake("squared_inside", replaces="double", caught_by="test_shifted_is_one_more", advice="Its double is a square.")
def double(x):
    return x * x


@mistake("divides_by_zero", replaces="mean", caught_by="test_mean_of_nothing_is_refused", advice="Look first.")
def mean(values):
    return sum(values) / len(values)


@mistake("backwards", replaces="ask_all", caught_by="test_all_are_asked_in_order", advice="From the first on.")
def ask_all(oracle, items):
    return [oracle(item) for item in reversed(items)][::-1]


@mistake("keeps_the_graph", replaces="detached", caught_by="test_the_result_is_detached", advice="Detach it.")
def detached(x):
    return 3 * x


@mistake("no_bias", replaces="Layer.forward", caught_by="test_a_layer_is_affine", advice="Add the bias.")
def forward(self, x):
    return self.weight * x


@mistake("bias_twice", replaces="Layer", caught_by="test_a_layer_is_affine", advice="Add the bias once.")
class Layer(Layer):
    def forward(self, x):
        return super().forward(x) + self.bias


@mistake("all_signs_lost", replaces=("double", "Layer.scale"), caught_by="test_signs_are_kept", advice="Signs matter.")
class Signs:
    def double(x):
        return 2 * abs(x)

    def scale(self):
        return -abs(self.weight)


@mistake("never_ends", replaces="rows", caught_by="test_rows_count_up", advice="Stop at n.")
def rows(n):
    while True:
        try:
            time.sleep(0.01)
        except Exception:
            pass


@mistake("counts_from_one", replaces="rows", caught_by="test_rows_count_up", advice="From zero.")
def rows(n):
    return list(range(1, n + 1))


@mistake("the_same_noise", replaces="noise", caught_by="test_noise_is_new", advice="Draw anew.")
def noise():
    return torch.zeros(3)
