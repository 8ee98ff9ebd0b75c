"""What users of BigDL PPML bring along: programs, files, keys, options and settings, each on what Redoubt has for it.

Legacy files and keys are read and never written; ``docs/compat.md`` says what becomes of each thing, and names what is
weak. The programs' module is :mod:`redoubt.compat.ppml_context`.
"""
