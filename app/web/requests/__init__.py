"""Request bodies: limits, forms, JSON and `.npy` files."""
