"""One thread, as in training: with networks this small, threads only wait for each other."""

import torch

torch.set_num_threads(1)
