"""The phone's app as an OAuth client whose keys are in hardware."""
