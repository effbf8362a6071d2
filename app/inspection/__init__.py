"""Look inside a network: what each layer holds, where a number comes from, why an answer is given.

Knows models and arrays, but not HTTP. Activations come from the compiled model, explanations from
the NumPy network (`app.network`); neither needs TensorFlow.
"""
