"""Runs a study: `python run_triage.py --dataset=stanford_dogs --method=cl_rw`."""

import sys

from deep_net_triage.__main__ import console, main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(console())
