"""Where a run computes and how exactly: devices, seeds, several processes, CUDA graphs."""
