"""Image classification: everything that it knows and no other part does."""
