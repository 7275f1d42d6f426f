"""One architecture a file: the file name is the `--arch` name (with - for _) and the registry key."""
