"""The stable codes of reading, reporting and comparing what load tests left behind."""

from __future__ import annotations

CODES: dict[str, str] = {
    "TK890": "There is no load test and no sweep at that place",
    "TK891": "The record of a load test or a sweep is damaged",
    "TK892": "The record of a load test or a sweep has another format",
    "TK893": "The samples of a load test are missing or damaged",
    "TK894": "A load test has too few requests to be compared",
    "TK895": "A load test that cannot be believed is compared with nothing",
    "TK896": "A sweep is compared with nothing; its turns are",
    "TK897": "A report is of more load tests than fit into one page",
    "TK898": "Load tests that are compared are not of the same thing",
    "TK899": "A comparison of several load tests has too few on a side",
}
