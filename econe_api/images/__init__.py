"""Disk images that virtual machines are made from: their format, and the directory that they are kept in."""
