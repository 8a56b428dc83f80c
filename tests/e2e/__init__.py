"""The chart in a real cluster: `make e2e` tests it in the one that kubectl speaks to."""
