"""`python -m igsearch` is the command line."""

from igsearch.cli import main

if __name__ == "__main__":
    main()
