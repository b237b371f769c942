"""Losses, stages and the trainer, which trains whatever module it is given."""
