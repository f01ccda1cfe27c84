"""`python -m magray`: the command line."""

from magray.cli.app import main

if __name__ == "__main__":
    main()
