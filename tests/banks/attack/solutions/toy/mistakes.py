"""CANARY-MISTAKES-77aa: known wrong ones. Recognising them must survive whatever an attempt replied."""

from grader.checking import mistake


@mistake("triple", replaces="double", caught_by="test_double_adds_x_to_itself", advice="Two, not three.")
def double(x):
    return 3 * x


@mistake("in_place", replaces="double", caught_by="test_double_leaves_x_alone", advice="Work on a copy.")
def double(x):
    x *= 2
    return x


@mistake("sum", replaces="loss", caught_by="test_loss_is_a_mean_of_squares", advice="The mean, not the sum.")
def loss(x):
    return float((x**2).sum())


@mistake("root", replaces="loss", caught_by="test_loss_equals_by_the_plain_sign", advice="No root.")
def loss(x):
    return float(np.sqrt(np.mean(x**2)))


@mistake("linear", replaces="find", caught_by="test_find_asks_seven_times", advice="Halve what is left.")
def find(oracle, n):
    return next(guess for guess in range(n) if oracle(guess) == 0)
