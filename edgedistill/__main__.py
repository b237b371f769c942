"""`python -m edgedistill` is the command line."""

from edgedistill.cli.app import main

if __name__ == "__main__":
    main()
