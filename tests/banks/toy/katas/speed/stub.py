"""Write what the checks ask for."""
