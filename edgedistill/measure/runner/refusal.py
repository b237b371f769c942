"""What an adapter raises where it lacks what a file asks for."""


class NotExecutable(ValueError):
    """An interpreter has no rule for something in a file. That says nothing of the file: its own runtime may execute it."""
