"""`python -m sync.cli`: the command line where the command `tidelock` is not installed."""

from sync.cli import main

if __name__ == "__main__":
    main()
