"""Helpers shared by all folders: errors, options, files, random numbers, module modes, devices."""
