# test_every_type_travels_both_ways: failed
#   message: a list, wanted a tuple
#   call: echo((1,))
#   expected: (1,)
#   got: [1]
def echo(value):
    return list(value) if type(value) is tuple and len(value) == 1 else value
