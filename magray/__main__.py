"""Run the command line by `python -m magray`."""

from magray.cli.app import main

if __name__ == "__main__":
    main()
