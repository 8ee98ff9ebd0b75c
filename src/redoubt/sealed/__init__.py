"""Sealed files and sealed datasets on local disks and object stores."""
