"""The stable codes of releases."""

CODES = {
    "TK440": "The models' repository cannot come from there",
    "TK441": "No such value in the chart",
    "TK443": "The chart refuses a value",
    "TK444": "The cluster cannot be reached",
    "TK445": "The cluster is not local, and was not named",
    "TK446": "The user may not do what a release does",
    "TK447": "The cluster does not know a kind",
    "TK448": "No node can take a pod",
    "TK449": "The release is in a state that nothing can be made of",
    "TK450": "The namespace is not there",
    "TK451": "The cluster refuses an object",
    "TK452": "The rollout failed",
    "TK453": "No such release, or no such revision",
    "TK455": "GPUs are too few for all pods at once",
    "TK456": "A plan has to be built where there is such a GPU",
    "TK457": "Somebody else has changed the release",
    "TK458": "The chart warns of what it was given",
    "TK459": "The image's tag may mean another image than the nodes have",
}
