"""The command line: one small module a command, each of which imports its step when it is called."""
