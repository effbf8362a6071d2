"""The version of digitscope: written here once, read by packaging, the service and the bundles."""

VERSION = "0.12.0"
