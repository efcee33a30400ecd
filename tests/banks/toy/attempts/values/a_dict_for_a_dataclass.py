# test_a_dataclass_arrives_as_a_record: failed
#   message: a dict, wanted a Summary
#   call: summary(f32[5])
def summary(values):
    return {"mean": mean(values), "values": values - values.mean()}
