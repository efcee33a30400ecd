# test_training_goes_on_in_a_new_process: failed
#   message: item 1 of the result
# test_the_reference_restarts_too: failed
def load(path):
    saved = torch.load(path, weights_only=True)
    trainer = Trainer(0)
    with torch.no_grad():
        trainer.weights.copy_(saved["weights"])
    trainer.generator.set_state(saved["generator"])
    trainer.steps = saved["steps"]
    return trainer
