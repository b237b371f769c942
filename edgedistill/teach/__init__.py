"""The teaching set: images and labels, their augmented views, and what the teacher says about them."""
