"""The command line: Typer parses, a frozen config is built, `jobs.<name>.run(config)` works, the receipt is printed.

One file a command. Nothing here imports torch or pyarrow before a command's body runs, so `--help` answers at once.
Data goes to files, logs and progress to stderr, and the last line of stdout is the receipt; on a terminal it is a summary.
"""
