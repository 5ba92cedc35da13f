"""The command line: flags, settings and exit codes."""
