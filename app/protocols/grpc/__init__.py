"""The Open Inference Protocol over gRPC, with health checking and reflection.

Needs the extra `grpc`. Imported only when `DIGITSCOPE_GRPC_PORT` is set.
"""
