"""Running: protocols, units and searches, on this machine or on a cluster; all of them go on after a kill."""
