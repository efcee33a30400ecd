# test_a_class_method_makes_a_stack: error
#   message: Stack.of is not defined in your file
del Stack.of
