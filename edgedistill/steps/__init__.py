"""The steps of a run, a file for each; what crosses the parts is here and in the command line only."""
