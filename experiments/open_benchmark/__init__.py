"""The open benchmark: declared agents, protocols, costs and probes, in one table that anybody can add to."""
