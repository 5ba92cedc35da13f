"""Reading images and labels, and checking and resizing them."""
