"""Networks: what they are made of, where they can be cut, and what they cost."""
