"""What this project costs beside what a user would otherwise write."""
