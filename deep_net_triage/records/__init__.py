"""Files on disk: each is written completely or not at all, by one process at a time."""
