"""The hubness report: who crowds out whom, made from results and nothing else."""
