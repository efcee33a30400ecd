# test_a_stack_is_last_in_first_out: failed
#   message: item 0
#   call: Stack.pop()
def pop(self):
    return self.items.pop(0)


Stack.pop = pop
