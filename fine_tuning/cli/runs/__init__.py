"""Runs on the disk: listed, compared, reproduced, watched."""
