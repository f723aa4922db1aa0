"""What a finished run may leave: a stage for each artefact."""
