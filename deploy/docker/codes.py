"""The stable codes of what keeps an image from being built or run."""

CODES = {
    "TK460": "There is no Docker engine",
    "TK461": "The base image is not pinned",
    "TK462": "The base image is not there and cannot be pulled",
    "TK463": "The base image is not the one that is named",
    "TK464": "The disk is full",
    "TK465": "A step of the build failed",
    "TK466": "The repository is too large for an image",
    "TK467": "The target does not fit the image",
    "TK468": "The packages of the image cannot be downloaded",
    "TK469": "The packages of the image are not known for this release",
    "TK470": "The name of the image is not valid",
    "TK471": "The container cannot be started",
    "TK472": "The server in the container ended or never became ready",
    "TK473": "The folder holds what is not ours",
    "TK475": "What is installed in the image cannot be read",
    "TK476": "An engine that the image is to serve has not been built",
    "TK477": "The container is gone, or cannot be removed",
}
