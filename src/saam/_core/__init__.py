"""What every room uses and none owns: errors, options, files written whole, random numbers, modes, devices."""
