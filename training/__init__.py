"""The offline half of digitscope: trains networks on MNIST and writes model bundles."""
