"""The values of the chart that follow from specs, and what a values file must not say against them."""

from deploy.values.made import Options, Values, values_of

__all__ = ["Options", "Values", "values_of"]
