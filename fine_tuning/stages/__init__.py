"""The stages of the straight line, one module each: values in, a value out, and no run.

Each is a `run.run.Stage`: what it depends on, whether what it made is still there, the work, and
what the screen is told of it.
"""
