"""docker compose for one machine: a server, Prometheus with the chart's rules, and a load generator."""
