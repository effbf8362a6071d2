"""The explanation methods, one in each module.

To add a method, write its module and list it in `app.inspection.attribution`.
"""
