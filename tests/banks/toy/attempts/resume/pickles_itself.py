# test_training_goes_on_in_a_new_process: error
#   message: Weights only load failed
#   call: load(
# test_the_checkpoint_holds_data_alone: error
#   call: a probe of the checks (contents)
# test_the_reference_restarts_too: error
def save(trainer, path):
    torch.save(trainer.optimizer, path)
