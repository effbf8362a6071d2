"""Image processing: turn an upload into the 28x28 image that a network receives.

Uses NumPy and Pillow only. Knows nothing of models or HTTP.
"""
