"""The machine: processors and devices, threads, processes, memory, and sums that do not depend on their order."""
