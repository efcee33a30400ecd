# test_a_shuffle_loses_nothing: failed
def shuffled(items, generator):
    return [items[i] for i in torch.randint(len(items), (len(items),), generator=generator).tolist()]
