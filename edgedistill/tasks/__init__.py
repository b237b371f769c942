"""What differs by task and nothing else."""
