"""What the numbers hide: the content of rows that are well formed. Begin with examine.py."""
