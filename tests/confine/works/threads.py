import threading

import torch

threads = [threading.Thread(target=torch.randn(100, 100).matmul, args=(torch.randn(100, 100),)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
