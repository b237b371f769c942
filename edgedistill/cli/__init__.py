"""The command line: one small module a command, each imports its step inside the command so that --help stays fast."""
