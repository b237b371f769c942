"""Runs an edgedistill bundle on a board: images or a camera in, predictions out."""
