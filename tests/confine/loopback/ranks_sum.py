import torch
import torch.distributed as dist

dist.init_process_group("gloo", init_method="tcp://127.0.0.1:29501", rank=rank, world_size=2)
total = torch.tensor([rank + 1])
dist.all_reduce(total)
dist.destroy_process_group()
result = total.tolist()
