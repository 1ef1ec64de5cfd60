"""The command line as ``python -m formtune``."""

from formtune.cli import main

if __name__ == "__main__":
    main()
