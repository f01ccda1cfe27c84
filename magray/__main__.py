"""Run the command line: `magray`, or `python -m magray`."""


def main() -> None:
    """Run the command line. Ctrl-C while it is still being imported ends it in silence."""
    try:
        from magray.cli.app import main as run
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
