"""Where work runs: thread pools, batches in parts, micro-batching."""
