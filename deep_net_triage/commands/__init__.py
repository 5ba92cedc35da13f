"""The command line: flags in, lines and an exit code out."""
