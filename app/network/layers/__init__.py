"""The layer kinds: one module for each family, with everything that the service knows of it.

To add a kind, write a subclass of `app.network.operation.Operation` in a module of its own and add
the module's `KINDS` to `app.network.kinds`.
"""
