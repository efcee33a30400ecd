# test_push_returns_the_stack_itself: failed
#   message: push returned another object
# test_a_full_stack_refuses: failed
#   message: what came back could not be used: AttributeError
#   call: Stack.push(1)
# test_fields_items_and_entries_can_be_had: failed
# test_a_stack_is_callable: failed
# test_handles_are_arguments: error
#   call: total(None, None)
def push(self, item):
    if len(self.items) == self.size_limit:
        raise OverflowError(self.name)
    self.items.append(item)


Stack.push = push
