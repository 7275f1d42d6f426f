"""`python -m pipeline`, and the console script."""

from pipeline.cli.app import main

if __name__ == "__main__":
    main()
