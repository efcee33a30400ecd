"""No known mistakes."""
