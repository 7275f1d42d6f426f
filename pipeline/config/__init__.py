"""The options of the commands: one frozen dataclass a command, importable without torch and pyarrow."""
