# test_fields_items_and_entries_can_be_had: failed
#   message: 'int' object has no attribute 'get'
# test_probes_look_inside: error
#   message: AttributeError: 'int' object has no attribute 'level'
#   call: a probe of the checks (levels)
def __init__(self, name="stack"):
    self.name = name
    self.items = []
    self.below = {"floor": 0}


Stack.__init__ = __init__
