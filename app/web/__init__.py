"""What all routes share: reading bodies, answering with problems, dependencies and schemas."""
