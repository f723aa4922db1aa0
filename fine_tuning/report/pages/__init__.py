"""Values in, HTML out: templates, the languages they speak, and data made fit to be shown."""
