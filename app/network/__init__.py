"""A trained network as data: its layers, their weights, and what each computes, in NumPy.

Reads the `.keras` file itself (an archive of JSON and HDF5), so that nothing here needs Keras or
TensorFlow. Knows nothing of images, bundles or HTTP.
"""
