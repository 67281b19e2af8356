"""The stable codes of what is sent when."""

CODES = {
    "TK850": "The rate is none, or beyond what can be sent",
    "TK851": "The duration is none, or too long",
    "TK852": "More requests than a run can hold",
    "TK853": "No such arrivals, or a setting that they do not have",
    "TK854": "The seed is no whole number from 0 on",
    "TK855": "The mix of pipelines cannot be drawn",
    "TK856": "The trace cannot be read",
    "TK857": "A line of the trace is no arrival",
    "TK858": "Not one request falls into the run",
    "TK859": "A request of that many items cannot be made",
}
