"""A study: its plan, its parent, its ledger, and its trials, from settings to a verdict."""
