"""From an upload to the 28x28 that a network receives; arrays only, NumPy and Pillow only."""
