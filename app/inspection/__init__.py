"""Looking inside a network: what each layer holds, where a number comes from, why it mattered.

Knows models and arrays; knows nothing of HTTP. What the layers hold comes from the compiled twin,
what explains it from `app.network`; neither needs TensorFlow.
"""
