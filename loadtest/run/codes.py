"""The stable codes of what keeps a load test from being run."""

CODES = {
    "TK870": "There is no objective to judge",
    "TK871": "The rate cannot be sent",
    "TK872": "The server is not there or not ready",
    "TK873": "The server refuses a payload",
    "TK874": "Load is not sent to another machine unless it is named",
    "TK875": "The server went away during the run",
    "TK876": "The run's files cannot be written",
    "TK877": "The mix names a pipeline that is not served",
    "TK878": "The options do not fit together",
    "TK879": "Locust is not installed or failed",
}
