"""What results amount to: numbers with intervals, pictures, and a page."""
