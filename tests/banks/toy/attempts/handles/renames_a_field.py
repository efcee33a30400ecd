# test_fields_items_and_entries_can_be_had: error
#   message: AttributeError: 'Stack' object has no attribute 'name'
#   call: field name of Stack('s')
# test_a_full_stack_refuses: failed
#   message: raised AttributeError
# test_handles_come_in_containers: error
#   call: field name of pair()
def __init__(self, name="stack"):
    self.title = name
    self.items = []
    self.below = {"floor": Floor()}


Stack.__init__ = __init__
