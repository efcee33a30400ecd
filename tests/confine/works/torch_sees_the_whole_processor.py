import torch

result = torch.backends.cpu.get_cpu_capability()
