# test_training_goes_on_in_a_new_process: error
#   message: FileNotFoundError
# test_the_checkpoint_holds_data_alone: failed
#   message: what came back could not be used: FileNotFoundError
# test_the_reference_restarts_too: error
def save(trainer, path):
    pass
