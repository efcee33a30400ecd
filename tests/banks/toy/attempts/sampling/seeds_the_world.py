# test_the_global_generators_are_left_alone: failed
#   message: item 3
def shuffled(items, generator):
    torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
    return [items[i] for i in torch.randperm(len(items)).tolist()]
