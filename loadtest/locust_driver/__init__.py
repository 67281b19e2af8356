"""The same load test driven by Locust: its command line, its workers, its web page; the senders are ours."""
