"""The process of the worker: started, spoken with, its failures explained."""
