# test_training_goes_on_in_a_new_process: crashed
#   message: exit code 5
#   call: loading the file
# test_a_restart_is_a_new_process: crashed
# test_the_reference_restarts_too: crashed
import os

if os.path.exists("here"):
    os._exit(5)
open("here", "w").close()
