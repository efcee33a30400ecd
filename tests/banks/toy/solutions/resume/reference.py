"""A training that can be saved, and goes on in another process as if nothing had happened."""

import torch


class Trainer:
    """Fits a vector to random targets, with momentum."""

    def __init__(self, seed):
        self.weights = torch.zeros(4, requires_grad=True)
        self.optimizer = torch.optim.SGD([self.weights], lr=0.1, momentum=0.9)
        self.generator = torch.Generator().manual_seed(seed)
        self.steps = 0

    def step(self):
        """One step against a target drawn from the generator; the loss before it."""
        target = torch.randn(4, generator=self.generator)
        loss = ((self.weights - target) ** 2).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        return loss.item()


def save(trainer, path):
    torch.save(
        {
            "weights": trainer.weights.detach(),
            "optimizer": trainer.optimizer.state_dict(),
            "generator": trainer.generator.get_state(),
            "steps": trainer.steps,
        },
        path,
    )


def load(path):
    """The trainer that was saved."""
    saved = torch.load(path, weights_only=True)
    trainer = Trainer(0)
    with torch.no_grad():
        trainer.weights.copy_(saved["weights"])
    trainer.optimizer.load_state_dict(saved["optimizer"])
    trainer.generator.set_state(saved["generator"])
    trainer.steps = saved["steps"]
    return trainer
