"""The commands, one literal each."""
