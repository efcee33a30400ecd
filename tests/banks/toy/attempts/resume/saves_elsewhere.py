# test_training_goes_on_in_a_new_process: error
#   message: save
# test_the_checkpoint_holds_data_alone: error
# test_the_reference_restarts_too: error
def save(trainer, path):
    with open("/tmp/checkpoint.pt", "wb") as file:
        torch.save({"weights": trainer.weights}, file)
