# test_handles_come_in_containers: failed
#   message: not one and the same stack
def pair():
    return Stack("first"), {"again": Stack("second"), "twice": [Stack("second"), Stack("second")]}
