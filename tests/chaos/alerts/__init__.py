"""Every alert of the chart, made to fire by what it warns of."""
