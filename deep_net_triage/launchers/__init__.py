"""Several trials at once: processes of one machine, or of a Ray cluster."""
