"""Runs several trials at once, in processes of one machine or of a Ray cluster."""
