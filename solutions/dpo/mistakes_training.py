"""Known wrong ways to train, each with the advice that belongs to it."""

import torch

from grader.checking import mistake


def losses_of(policy, reference, batch, beta, loss_type, average):
    """A function that gives the loss and both rewards of the policy as it stands; the reference is asked here."""
    with torch.no_grad():
        frozen = _pair_logprobs(reference, batch, average)

    def now():
        four = *_pair_logprobs(policy, batch, average), *frozen
        loss, *rewards = dpo_loss(*four, beta)
        return (ipo_loss(*four, beta) if loss_type == "ipo" else loss), *rewards

    return now


def right_losses_of(policy, reference, batch, beta, loss_type):
    return losses_of(policy, reference.eval(), batch, beta, loss_type, average=loss_type == "ipo")


def descend(now, optimizer, steps, before_step=lambda: None):
    """The loop of `train_dpo` on what `now()` gives: loss, chosen and rejected rewards."""
    history = []
    for _ in range(steps):
        loss, *rewards = now()
        optimizer.zero_grad()
        loss.backward()
        before_step()
        optimizer.step()
        history.append(_metrics(loss, *rewards))
    return history


@mistake(
    "ties_count_as_wins",
    replaces="_metrics",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="Equal rewards are no win: with `>=` an untrained policy, equal to its reference, has accuracy 1.",
)
def _metrics(loss, chosen_rewards, rejected_rewards):
    margins = chosen_rewards - rejected_rewards
    return {"loss": loss.item(), "accuracy": (margins >= 0).double().mean().item(), "margin": margins.mean().item()}


@mistake(
    "metrics_after_the_update",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="These metrics were measured after the update. Report those of the forward pass that the step was made "
    "from: they cost nothing, and the first row says where you started.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = right_losses_of(policy, reference, batch, beta, loss_type)
    optimizer = torch.optim.SGD(policy.parameters(), lr)
    history = []
    for _ in range(steps):
        descend(now, optimizer, 1)
        history.append(_metrics(*now()))
    return history


@mistake(
    "metrics_without_beta",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="The margin is one of rewards, and a reward is β·(log π − log π_ref): β is missing here.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = right_losses_of(policy, reference, batch, beta, loss_type)
    history = descend(now, torch.optim.SGD(policy.parameters(), lr), steps)
    return [metrics | {"margin": metrics["margin"] / beta} for metrics in history]


@mistake(
    "dpo_on_averages",
    replaces="train_dpo",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="DPO is trained on averaged log-probabilities here. Sum them: only then is the optimum π_ref · exp(r/β)/Z.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = losses_of(policy, reference.eval(), batch, beta, loss_type, average=True)
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "rejected_under_the_chosen_mask",
    replaces="_pair_logprobs",
    caught_by="test_train_reports_metrics_of_each_step",
    advice="The rejected completions are counted under the chosen ones' mask: each side has its own.",
)
def _pair_logprobs(model, batch, average):
    ids, mask = torch.cat([batch["chosen_ids"], batch["rejected_ids"]]), batch["chosen_mask"].repeat(2, 1)
    return sequence_logprobs(model(ids), ids, mask, average).chunk(2)


@mistake(
    "gradients_pile_up",
    replaces="train_dpo",
    caught_by="test_train_takes_plain_gradient_steps",
    advice="The gradients of earlier steps are still there: call `optimizer.zero_grad()` before each backward.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    optimizer = torch.optim.SGD(policy.parameters(), lr)
    optimizer.zero_grad = lambda: None
    return descend(right_losses_of(policy, reference, batch, beta, loss_type), optimizer, steps)


@mistake(
    "momentum",
    replaces="train_dpo",
    caught_by="test_train_takes_plain_gradient_steps",
    advice="The second step carries some of the first: plain SGD has no momentum.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = right_losses_of(policy, reference, batch, beta, loss_type)
    return descend(now, torch.optim.SGD(policy.parameters(), lr, momentum=0.9), steps)


@mistake(
    "gradient_clipped",
    replaces="train_dpo",
    caught_by="test_train_takes_plain_gradient_steps",
    advice="The gradient's norm is clipped at 1, a habit from larger models: here every step is the whole gradient.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    def clip():
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)

    now = right_losses_of(policy, reference, batch, beta, loss_type)
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps, clip)


@mistake(
    "reference_in_train_mode",
    replaces="train_dpo",
    caught_by="test_train_freezes_the_reference",
    advice="The reference ran with dropout: `no_grad` does not switch it off, `eval()` does.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = losses_of(policy, reference, batch, beta, loss_type, average=loss_type == "ipo")
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "reference_every_step",
    replaces="train_dpo",
    caught_by="test_train_asks_the_reference_once",
    advice="The reference never changes, so neither do its log-probabilities: compute them once, before the loop.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    def now():
        return right_losses_of(policy, reference, batch, beta, loss_type)()

    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "policy_put_in_train_mode",
    replaces="train_dpo",
    caught_by="test_train_takes_any_policy_in_its_mode",
    advice="`policy.train()` switches on the dropout of a policy that came in eval mode: leave its mode alone.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    now = right_losses_of(policy.train(), reference, batch, beta, loss_type)
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)


@mistake(
    "repeated_pairs_removed",
    replaces="train_dpo",
    caught_by="test_train_reaches_the_known_optimum",
    advice="Repeated pairs were dropped. How often one completion beats another is what the reward is estimated from: "
    "keep every row.",
)
def train_dpo(policy, reference, batch, beta, lr, steps, loss_type="dpo"):
    rows = torch.cat([batch[key].long() for key in sorted(batch)], dim=1).tolist()
    first = [i for i, row in enumerate(rows) if row not in rows[:i]]
    batch = {key: value[first] for key, value in batch.items()}
    now = right_losses_of(policy, reference, batch, beta, loss_type)
    return descend(now, torch.optim.SGD(policy.parameters(), lr), steps)
