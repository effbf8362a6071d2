"""The offline half of digitscope: train networks on MNIST and write model bundles for the
service.
"""
