"""Adapts a published network to a user's own pictures, and writes it as a bundle of its own."""
