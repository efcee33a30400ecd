"""Known wrong gradient checks, each with the advice that belongs to it."""

import numpy as np

from grader.checking import mistake


def _differences(f, x, h):
    """The central difference, made by moving the elements of x itself and putting each back."""
    grad = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        here = x[index]
        x[index] = here + h
        above = f(x)
        x[index] = here - h
        below = f(x)
        x[index] = here
        grad[index] = (above - below) / (2 * h)
    return grad


@mistake(
    "one_sided",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_the_central_difference",
    advice="(f(x + h) − f(x))/h is off by about h·f″/2; the central difference is off by h²·f‴/6. Step both ways.",
)
def numerical_grad(f, x, h=1e-5):
    steps = h * np.eye(x.size).reshape(-1, *x.shape)
    return np.array([f(x + step) - f(x * 1.0) for step in steps]).reshape(x.shape) / h


@mistake(
    "divided_by_h",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_the_central_difference",
    advice="From x − h to x + h the distance is 2h: every element came out twice too large.",
)
def numerical_grad(f, x, h=1e-5):
    return 2 * _differences(f, np.array(x, dtype=np.float64), h)


@mistake(
    "element_not_put_back",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_the_central_difference",
    advice="An element that was moved must be put back before the next one moves, or all that follow are off.",
)
def numerical_grad(f, x, h=1e-5):
    x, grad = np.array(x, dtype=np.float64), np.zeros(x.shape)
    for index, here in np.ndenumerate(x.copy()):
        x[index] = here + h
        above = f(x)
        x[index] = here - h
        grad[index] = (above - f(x)) / (2 * h)
    return grad


@mistake(
    "step_too_small",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_accurate_by_default",
    advice="At h = 1e-10 rounding in f, about 1e-16·|f|/h, drowns the gradient. 1e-5 balances it against the h² error.",
)
def numerical_grad(f, x, h=1e-10):
    return _differences(f, np.array(x, dtype=np.float64), h)


@mistake(
    "float32",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_the_central_difference",
    advice="float32 has 7 digits: the difference of two near values keeps none of them at h = 1e-5. Check in float64.",
)
def numerical_grad(f, x, h=1e-5):
    return _differences(f, x.astype(np.float32), h)


@mistake(
    "dtype_of_x_kept",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_is_accurate_by_default",
    advice="An array of integers cuts 1 + 1e-5 back to 1, and 1 − 1e-5 down to 0. Copy x as float64 first.",
)
def numerical_grad(f, x, h=1e-5):
    return _differences(f, x.copy(), h)


@mistake(
    "caller_s_x_moved",
    replaces="numerical_grad",
    caught_by="test_numerical_grad_never_moves_the_caller_s_x",
    advice="`asarray` makes no copy of float64, so the caller's own x moves, and f may read it. Use np.array.",
)
def numerical_grad(f, x, h=1e-5):
    return _differences(f, np.asarray(x, dtype=np.float64), h)


@mistake(
    "no_floor",
    replaces="rel_error",
    caught_by="test_rel_error",
    advice="The floor of 1e-8 is missing: 1e-12 against 0 then counts as wholly wrong, and 0 against 0 is NaN.",
)
def rel_error(a, n):
    return float(np.max(np.abs(a - n) / (np.abs(a) + np.abs(n))))


@mistake(
    "nan_passed_over",
    replaces="rel_error",
    caught_by="test_rel_error",
    advice="A NaN is the worst error there is, and nanmax, fmax and Python's max pass over it. np.max keeps it.",
)
def rel_error(a, n):
    return float(np.nanmax(np.abs(a - n) / np.maximum(1e-8, np.abs(a) + np.abs(n))))


@mistake(
    "larger_of_the_two",
    replaces="rel_error",
    caught_by="test_rel_error",
    advice="The denominator is the sum |a| + |n|, not the larger of the two, which makes errors up to twice as large.",
)
def rel_error(a, n):
    return float(np.max(np.abs(a - n) / np.maximum(1e-8, np.maximum(np.abs(a), np.abs(n)))))


@mistake(
    "mean_error",
    replaces="rel_error",
    caught_by="test_rel_error",
    advice="The mean dilutes the one wrong element among many, which is the usual bug: take the maximum.",
)
def rel_error(a, n):
    return float(np.mean(np.abs(a - n) / np.maximum(1e-8, np.abs(a) + np.abs(n))))
