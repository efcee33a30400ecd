# test_a_dataclass_arrives_as_a_record: failed
#   message: an object of class Bag, wanted a Summary
#   call: summary(f32[5])
class Bag:
    pass


def summary(values):
    bag = Bag()
    bag.mean, bag.values = mean(values), values - values.mean()
    return bag
