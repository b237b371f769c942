"""Written answers of a teacher: asked of a server or of a local model, recorded, checked, and given to train on."""
