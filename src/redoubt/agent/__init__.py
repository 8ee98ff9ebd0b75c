"""The side that runs beside the program: the key endpoint and its client."""
