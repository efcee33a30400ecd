# test_push_returns_the_stack_itself: failed
#   message: push returned another object
#   got: a Stack
# test_a_full_stack_refuses: failed
#   message: no OverflowError was raised
#   call: Stack.push(4)
import copy


def push(self, item):
    other = copy.deepcopy(self)
    other.items.append(item)
    self.items.append(item)
    return other


Stack.push = push
