"""Training a network, and what is known of it before and after."""
