"""Training networks, and checking and predicting what training gives."""
