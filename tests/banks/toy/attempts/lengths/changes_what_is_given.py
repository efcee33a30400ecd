# test_nothing_else_is_loaded: failed
METRES["cm"] = 0.01
