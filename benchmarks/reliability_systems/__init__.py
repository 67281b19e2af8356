"""A cluster's moving parts on processes: pods as the chart renders them, their kubelet, endpoints, proxy and load."""
