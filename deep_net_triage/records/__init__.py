"""What is kept on disk: whole or not at all, by one process at a time."""
