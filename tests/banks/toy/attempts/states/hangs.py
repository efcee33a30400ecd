# limit 0.3 s
# test_inverse_divides: timeout
#   call: inverse(4.0)
#   output: before the loop
def inverse(x):
    print("before the loop")
    while True:
        pass
